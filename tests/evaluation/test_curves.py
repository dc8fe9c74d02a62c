import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evaluation.curves import (
    COLLAPSED_RATE_NATS,
    RATE_RESOLUTION_NATS,
    bd_distortion,
    bd_rate,
    common_means,
    hypervolume,
    hypervolume_share,
    interpolate,
    lower_envelope,
    mean_distortion,
    pareto_front,
)

COORDINATE = st.floats(0, 1000, allow_subnormal=False)
CURVES = st.lists(st.tuples(COORDINATE, COORDINATE), max_size=12)
NAN = math.nan
STEP = st.floats(0.1, 30)
FACTOR = st.floats(0.1, 10)
# As (rate, distortion) of 4 to 8 points, from somewhere between 1 and 31 nats on, rates rising and distortions falling.
FALLING = st.lists(st.tuples(STEP, STEP), min_size=4, max_size=8).map(
    lambda steps: [
        (1 + sum(rise for rise, _ in steps[: index + 1]), 1 + sum(fall for _, fall in steps[index:]))
        for index in range(len(steps))
    ]
)

# Test rate and distortion on Omniglot at 20 and 10 β, digitised from figure 1 of Bae et al. 2023 (MR-VAE).
MULTI_RATE = [
    (118.88, 51.8), (114.2, 51.74), (109.15, 51.75), (103.73, 51.8), (97.95, 51.89), (91.81, 52.08),
    (85.38, 52.46), (78.73, 53.15), (71.86, 54.2), (64.81, 55.74), (57.58, 58.0), (50.15, 61.34),
    (42.43, 66.29), (34.37, 73.42), (26.08, 84.27), (17.94, 99.28), (10.22, 120.19), (4.29, 143.32),
    (1.81, 157.1), (0.9, 164.42),
]  # fmt: skip
CONSTANT = [
    (136.09, 51.46), (121.46, 51.72), (106.29, 52.39), (89.78, 53.7), (72.5, 56.43), (52.97, 62.19),
    (33.7, 75.56), (18.23, 100.53), (5.43, 137.22), (0.72, 165.69),
]  # fmt: skip


def dominated(point, curve):
    return any(other[0] <= point[0] and other[1] <= point[1] and other != point for other in curve)


@given(CURVES)
def test_the_front_is_exactly_what_nothing_dominates(curve):
    assert {curve[index] for index in pareto_front(curve)} == {p for p in curve if not dominated(p, curve)}


@given(CURVES)
def test_the_front_falls_as_rates_rise(curve):
    front = [curve[index] for index in pareto_front(curve)]
    assert front == sorted(front)
    assert [distortion for _, distortion in front] == sorted((d for _, d in front), reverse=True)


def test_equal_points_are_both_on_the_front():
    assert pareto_front([(1, 1), (0, 2), (1, 1), (2, 2)]) == (1, 0, 2)


def test_points_that_are_not_finite_take_no_part():
    assert pareto_front([(NAN, 1), (1, NAN), (math.inf, 0), (1, 1)]) == (3,)
    assert lower_envelope([(NAN, 1), (1, 1), (2, NAN)]) == ((1, 1),)


def test_hypervolume_of_two_steps():
    """(1, 3) and (2, 1) below (4, 5): 3 × 2 and 2 × 2 more."""
    assert hypervolume([(2, 1), (1, 3)], (4, 5)) == 10.0


@given(CURVES, st.randoms())
def test_hypervolume_is_of_the_set(curve, random):
    shuffled = [*curve, *curve[:2]]
    random.shuffle(shuffled)
    assert hypervolume(shuffled, (900, 900)) == pytest.approx(hypervolume(curve, (900, 900)), rel=1e-12)


@given(CURVES, st.tuples(COORDINATE, COORDINATE))
def test_a_further_point_never_takes_area_away(curve, further):
    before, after = hypervolume(curve, (900, 900)), hypervolume([*curve, further], (900, 900))
    assert after >= before * (1 - 1e-12)
    assert after <= 900 * 900 * (1 + 1e-12)


@pytest.mark.parametrize("point", [(4, 1), (1, 5), (9, 9), (NAN, 1)])
def test_points_beyond_the_reference_add_nothing(point):
    assert hypervolume([point], (4, 5)) == 0.0


@given(CURVES)
def test_the_envelope_is_the_least_distortion_at_no_more_than_each_rate(curve):
    """At every rate measured, up to the rates that are taken as one."""
    envelope = lower_envelope(curve)
    for rate, _ in curve:
        least = min(distortion for other, distortion in curve if other <= rate)
        reached = [distortion for other, distortion in envelope if other <= rate]
        assert reached[-1] <= least


@given(CURVES)
def test_the_envelope_spans_the_rates_and_rises_by_more_than_round_off(curve):
    envelope = lower_envelope(curve)
    rates = [rate for rate, _ in envelope]
    assert all(after - before >= RATE_RESOLUTION_NATS for before, after in pairwise(rates))
    if curve:
        assert rates[0] == min(rate for rate, _ in curve)
        assert rates[-1] == pytest.approx(max(rate for rate, _ in curve), abs=RATE_RESOLUTION_NATS)


@given(CURVES)
@settings(max_examples=50, deadline=None)
def test_interpolation_stays_within_its_neighbours(curve):
    """Monotone: no overshoot between points, which an ordinary cubic has."""
    envelope = lower_envelope(curve)
    if len(envelope) < 2:
        return
    line = interpolate(curve)
    for (low, above), (high, below) in pairwise(envelope):
        middle = float(line((low + high) / 2))
        assert below - 1e-9 <= middle <= above + 1e-9


def test_a_dominated_tail_does_not_raise_the_envelope():
    assert lower_envelope([(1, 10), (2, 5), (3, 7)]) == ((1, 10), (2, 5), (3, 5))


def test_the_mean_over_a_straight_line_is_its_middle():
    line = [(rate, 100 - 2 * rate) for rate in (0, 3, 7, 20)]
    assert mean_distortion(line, (5, 15)) == pytest.approx(80.0, rel=1e-12)


def test_the_mean_does_not_depend_on_the_order_of_points():
    assert mean_distortion(CONSTANT[::-1], (1, 100)) == mean_distortion(CONSTANT, (1, 100))


@given(FALLING, st.integers(2, 8), st.floats(0, 30), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_mean_distortion_is_the_integral_of_the_interpolant(falling, points, level, shares):
    """The closed form is scipy's PCHIP, over any part of curves of two points and more, with a level end or without."""
    curve = [*falling[:points], (falling[:points][-1][0] + level, 1000.0)]
    envelope = lower_envelope(curve)
    assume(len(envelope) > 1)
    span = envelope[-1][0] - envelope[0][0]
    low, high = sorted(envelope[0][0] + share * span for share in shares)
    assume(high - low > 1e-6 * span)
    assume(high <= envelope[-1][0])
    expected = interpolate(curve).integrate(low, high) / (high - low)
    assert mean_distortion(curve, (low, high)) == pytest.approx(float(expected), rel=1e-8, abs=1e-8)


def test_published_mean_distortions():
    """Over rates 1 to 118.5 the published curves average 70.19 and 71.63 nats."""
    assert mean_distortion(MULTI_RATE, (1, 118.5)) == pytest.approx(70.19, abs=0.01)
    assert mean_distortion(CONSTANT, (1, 118.5)) == pytest.approx(71.63, abs=0.01)


def test_published_hypervolumes():
    """As shares of 140 × 170, and the MR-VAE at every second β."""
    shares = [hypervolume(curve, (140, 170)) / (140 * 170) for curve in (MULTI_RATE, MULTI_RATE[::2], CONSTANT)]
    assert shares == pytest.approx([0.584, 0.567, 0.559], abs=5e-4)


def test_common_means_are_over_the_rates_that_all_span():
    common = common_means([[(0, 10), (10, 0)], [(4, 10), (20, 2)]])
    assert common.interval == (4, 10)
    assert common.means == pytest.approx((3.0, 8.5))
    assert common.reason == ""


@given(CURVES, CURVES)
@settings(deadline=None)
def test_common_means_are_numbers_or_a_reason(one, other):
    common = common_means([one, other])
    if common.interval is None:
        assert common.means == ()
        assert common.reason
        return
    assert common.interval[0] < common.interval[1]
    for mean, curve in zip(common.means, (one, other), strict=True):
        distortions = [distortion for _, distortion in curve]
        assert min(distortions) - 1e-6 <= mean <= max(distortions) + 1e-6


@pytest.mark.parametrize(
    ("curves", "reason"),
    [
        (
            [[(1, 1), (2, 0)], [(3, 1), (4, 0)]],
            "the curves share no rates: one starts at 3, another ends at 2 nats",
        ),
        (
            [[(1, 1), (2, 0)], [(2, 1), (4, 0)]],
            "the curves share no rates: one starts at 2, another ends at 2 nats",
        ),
        (
            [[(1, 1), (2, 0)], [(1, 1)]],
            "a curve has only the rate 1 nats; an interval needs two different rates",
        ),
        ([[(1, 1), (1, 0)]], "a curve has only the rate 1 nats; an interval needs two different rates"),
        ([[(NAN, 1)]], "a curve has no finite point; an interval needs two different rates"),
        ([], "there is no curve"),
    ],
)
def test_where_there_is_no_common_interval_the_reason_is_given(curves, reason):
    assert (common_means(curves).interval, common_means(curves).reason) == (None, reason)


def test_a_mean_outside_the_measured_rates_is_refused():
    with pytest.raises(ValueError, match=r"spans rates 0\.72 to 136\.09, not 0\.5 to 100"):
        mean_distortion(CONSTANT, (0.5, 100))


def test_an_interval_upside_down_is_refused():
    with pytest.raises(ValueError, match="not an interval"):
        mean_distortion(CONSTANT, (100, 1))


def test_one_point_is_not_interpolated():
    with pytest.raises(ValueError, match="two different rates"):
        interpolate([(1, 1)])


def scaled(curve, *, rate=1.0, distortion=1.0):
    return [(rate * r, distortion * d) for r, d in curve]


@given(CURVES.filter(bool), st.data())
def test_a_dominated_point_changes_neither_front_nor_hypervolume(curve, data):
    rate, distortion = data.draw(st.sampled_from(curve))
    curve_with_it = [*curve, (rate + 1, distortion + 1)]
    assert pareto_front(curve_with_it) == pareto_front(curve)
    assert hypervolume(curve_with_it, (900, 900)) == hypervolume(curve, (900, 900))


@given(FALLING, FALLING, st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_points_changes_nothing(one, other, random):
    shuffled = random.sample(one, len(one))
    assert lower_envelope(shuffled) == lower_envelope(one)
    assert hypervolume(shuffled, (99, 99)) == hypervolume(one, (99, 99))
    assert common_means([shuffled, other]) == common_means([one, other])
    assert bd_rate(shuffled, other) == bd_rate(one, other)
    assert bd_distortion(shuffled, other) == bd_distortion(one, other)


def test_the_share_is_of_the_rectangle_from_the_origin():
    assert hypervolume_share([(2, 1), (1, 3)], (4, 5)) == 0.5


@pytest.mark.parametrize("reference", [(0, 5), (4, -1), (NAN, 5)])
def test_a_share_of_no_rectangle_is_refused(reference):
    with pytest.raises(ValueError, match="must be above zero in both"):
        hypervolume_share([(1, 1)], reference)


# What bd_rate, bd_psnr and bd_linear of the package bjontegaard 1.3.0 give for the rates and -D of the Pareto fronts,
# with the method "pchip", no matching points required, and no least overlap.
FOUR_POINTS = [(2, 40.0), (8, 30.0), (20, 22.0), (50, 17.0)]
FOUR_OTHERS = [(3, 36.0), (9, 27.5), (18, 21.0), (40, 18.0)]
PACKAGE = [
    (CONSTANT, MULTI_RATE, -0.055667135463, 0.504388993744, 1.497308899817),
    (CONSTANT, MULTI_RATE[::2], -3.279940167428, 0.699704772883, 1.466022476597),
    (FOUR_POINTS, FOUR_OTHERS, -17.029273819257, 1.365559580079, 1.133533600876),
]


def front_of(curve):
    return [curve[index] for index in pareto_front(curve)]


@pytest.mark.parametrize(("anchor", "test", "rate", "quality", "quality_over_rate"), PACKAGE)
def test_differences_are_those_of_the_bjontegaard_package(anchor, test, rate, quality, quality_over_rate):
    fronts = [front_of(anchor), front_of(test)]
    assert bd_rate(anchor, test).value == pytest.approx(rate, abs=1e-6)
    assert bd_distortion(*fronts).value == pytest.approx(-quality, abs=1e-6)
    means = common_means(fronts).means
    assert means[1] - means[0] == pytest.approx(-quality_over_rate, abs=1e-6)


@given(FALLING, FALLING)
@settings(max_examples=30, deadline=None)
def test_differences_are_those_of_the_package_on_any_falling_curves(anchor, test):
    package = pytest.importorskip("bjontegaard", reason="bjontegaard is not installed; golden numbers are tested above")
    rate, distortion = bd_rate(anchor, test), bd_distortion(anchor, test)
    columns = [column for curve in (anchor, test) for column in ([r for r, _ in curve], [-d for _, d in curve])]
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    if rate.value is not None:
        assert rate.value == pytest.approx(package.bd_rate(*columns, **options), rel=1e-6, abs=1e-6)
    if distortion.value is not None:
        assert distortion.value == pytest.approx(-package.bd_psnr(*columns, **options), rel=1e-6, abs=1e-6)


def test_half_the_rate_everywhere_is_half_the_rate():
    """Distortion falls by 10 with every doubling: half the rate is 10 less distortion at equal rate."""
    anchor = [(2.0**power, 100.0 - 10 * power) for power in range(1, 7)]
    test = scaled(anchor, rate=0.5)
    assert bd_rate(anchor, test).value == pytest.approx(-50.0)
    assert bd_rate(anchor, test).interval == (40.0, 90.0)
    assert bd_rate(anchor, test).overlap == 1.0
    assert bd_distortion(anchor, test).value == pytest.approx(-10.0)
    assert bd_distortion(anchor, test).interval == (2.0, 32.0)
    assert bd_distortion(anchor, test).overlap == pytest.approx(4 / 6)


@given(FALLING, FALLING, FACTOR, FACTOR)
@settings(max_examples=30, deadline=None)
def test_differences_scale_as_their_units(anchor, test, rate, distortion):
    stretched = [scaled(curve, rate=rate, distortion=distortion) for curve in (anchor, test)]
    before, after = bd_rate(anchor, test), bd_rate(*stretched)
    if before.overlap > 1e-3:  # far enough from where round-off decides whether there is any
        assert after.value == pytest.approx(before.value, rel=1e-6, abs=1e-6)
    before, after = bd_distortion(anchor, test), bd_distortion(*stretched)
    if before.overlap > 1e-3:
        assert after.value == pytest.approx(distortion * before.value, rel=1e-6, abs=1e-6)


@given(FALLING, FACTOR, FACTOR)
@settings(max_examples=30, deadline=None)
def test_the_mean_scales_with_the_distortion_and_not_with_the_rate(curve, rate, distortion):
    low, high = curve[0][0], curve[-1][0]
    stretched = mean_distortion(scaled(curve, rate=rate, distortion=distortion), (rate * low, rate * high))
    assert stretched == pytest.approx(distortion * mean_distortion(curve, (low, high)), rel=1e-9)


@given(FALLING, FALLING)
@settings(max_examples=30, deadline=None)
def test_turned_round_the_differences_are_inverted(one, other):
    forth, back = bd_rate(one, other), bd_rate(other, one)
    assert forth.interval == back.interval
    if forth.value is not None:
        assert (1 + forth.value / 100) * (1 + back.value / 100) == pytest.approx(1)
    forth, back = bd_distortion(one, other), bd_distortion(other, one)
    if forth.value is not None:
        assert forth.value == pytest.approx(-back.value)


@pytest.mark.parametrize("difference", [bd_rate, bd_distortion])
@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (
            [(1, 50), (8, 30), (20, 22), (30, 22)],
            "a curve has 3 points on its Pareto front; a Bjøntegaard difference needs 4: evaluate at more β values, or "
            "compare mean distortions",
        ),
        (
            [(1, 50)],
            "a curve has 1 point on its Pareto front; a Bjøntegaard difference needs 4: evaluate at more β values, or "
            "compare mean distortions",
        ),
        (
            [(0.0012, 50), (8, 30), (20, 22), (50, 17)],
            "a curve has collapsed to a rate of 0.0012 nats, whose logarithm is meaningless: leave the point out, or "
            "compare mean distortions",
        ),
        (
            [(0, 50), (8, 30), (20, 22), (50, 17)],
            "a curve has collapsed to a rate of 0 nats, whose logarithm is meaningless: leave the point out, or "
            "compare mean distortions",
        ),
    ],
)
def test_where_a_bjontegaard_difference_means_nothing_the_reason_is_given(difference, test, reason):
    for found in (difference(FOUR_POINTS, test), difference(test, FOUR_POINTS)):
        assert (found.value, found.interval, found.reason) == (None, None, reason)


def test_a_rate_at_the_threshold_of_an_active_unit_has_not_collapsed():
    curve = [(COLLAPSED_RATE_NATS, 50), (8, 30), (20, 22), (50, 17)]
    assert bd_rate(FOUR_POINTS, curve).reason == ""
    assert -0.5 * math.log(1 - 0.01) == pytest.approx(COLLAPSED_RATE_NATS, rel=0.01)


def test_curves_without_common_distortions_have_no_bd_rate():
    worse = [(rate, distortion + 23) for rate, distortion in FOUR_POINTS]
    assert bd_rate(FOUR_POINTS, worse).reason == "the curves share no distortions: one starts at 40, another ends at 40"
    assert bd_distortion(FOUR_POINTS, worse).value == pytest.approx(23)


def test_curves_without_common_rates_have_no_bd_distortion():
    further = scaled(FOUR_POINTS, rate=30)
    reason = "the curves share no rates: one starts at 60, another ends at 50 nats"
    assert bd_distortion(FOUR_POINTS, further).reason == reason
    assert bd_rate(FOUR_POINTS, further).value == pytest.approx(2900)


def water_filling(beta):
    """Return rate and distortion of Gaussian components, whose variances above the water level β / 2 are coded."""
    variances = 40 * np.exp(-np.arange(30) / 5)
    level = np.minimum(variances, beta / 2)
    return float(0.5 * np.log(variances / level).sum()), float(level.sum())


@pytest.mark.parametrize(("points", "most"), [(5, 0.07), (10, 0.005), (20, 0.0005)])
def test_the_cubic_is_nearer_to_a_closed_form_curve_than_straight_lines(points, most):
    exact = [water_filling(beta) for beta in np.geomspace(10, 0.01, 4000)]
    rates, distortions = np.array(exact).T
    truth = np.trapezoid(distortions, rates) / (rates[-1] - rates[0])
    found = common_means([[water_filling(beta) for beta in np.geomspace(0.01, 10, points)]])
    assert abs(found.means[0] / truth - 1) < most
    assert found.straight[0] / truth - 1 > 2.5 * most


@given(FALLING, FALLING)
@settings(deadline=None)
def test_straight_means_are_those_of_straight_lines(one, other):
    found = common_means([one, other])
    for curve, mean in zip([one, other] if found.straight else [], found.straight, strict=True):
        rates, distortions = np.array(lower_envelope(curve)).T
        inside = np.unique(np.clip(np.append(rates, found.interval), *found.interval))
        heights = np.interp(inside, rates, distortions)
        expected = np.trapezoid(heights, inside) / (found.interval[1] - found.interval[0])
        assert mean == pytest.approx(expected, rel=1e-6, abs=1e-6)
