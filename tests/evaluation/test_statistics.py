import itertools
import math
from statistics import fmean, geometric_mean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from evaluation.curves import common_means
from evaluation.statistics import (
    DRAWS,
    bootstrap,
    bootstrap_over_datasets,
    pair_by_seed,
    probability_of_improvement,
)

NUMBERS = st.floats(-100, 100, allow_subnormal=False)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5)


def ends_of_all(means, level):
    """Return the ends of the interval over a list of all resamples, none of them weighted."""
    ordered = sorted(means)
    beyond = math.ceil(round((1 - level) / 2 * len(ordered), 9)) - 1
    return ordered[beyond], ordered[-1 - beyond]


def test_three_seeds_have_27_resamples_of_which_10_differ():
    found = bootstrap([1.0, 2.0, 6.0], fmean)
    assert (found.value, found.low, found.high) == (3.0, 1.0, 6.0)
    assert (found.seeds, found.resamples, found.distinct, found.exact) == ((3,), 27, 10, True)
    assert found.method == (
        "95 % percentile bootstrap over 3 seeds, all 27 resamples, 10 of them different: the range of all of them"
    )
    assert found.reason == ""


@given(st.lists(NUMBERS, min_size=2, max_size=5), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
def test_the_interval_is_that_of_all_resamples_written_out(values, level):
    means = [fmean(draw) for draw in itertools.product(values, repeat=len(values))]
    found = bootstrap(values, fmean, level=level)
    assert (found.low, found.high) == pytest.approx(ends_of_all(means, level), rel=1e-9, abs=1e-9)
    assert found.resamples == len(means)


@given(st.lists(NUMBERS, min_size=2, max_size=9))
@settings(max_examples=30, deadline=None)
def test_the_interval_contains_the_estimate(values):
    found = bootstrap(values, fmean)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    # The mean of one number three times may be off by its last bit.
    room = 1e-12 * max(map(abs, values))
    assert min(values) - room <= found.low
    assert found.high <= max(values) + room


@given(st.lists(NUMBERS, min_size=2, max_size=5), st.randoms())
def test_the_order_of_seeds_changes_nothing(values, random):
    assert bootstrap(random.sample(values, len(values)), fmean) == bootstrap(values, fmean)


@given(st.lists(NUMBERS, min_size=2, max_size=5), st.floats(0.1, 10), NUMBERS)
def test_the_interval_moves_and_scales_with_the_numbers(values, factor, shift):
    found, other = bootstrap(values, fmean), bootstrap([factor * value + shift for value in values], fmean)
    expected = [factor * end + shift for end in (found.value, found.low, found.high)]
    assert [other.value, other.low, other.high] == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.lists(NUMBERS, min_size=2, max_size=5))
def test_the_interval_of_what_is_turned_round_is_turned_round(values):
    found, other = bootstrap(values, fmean), bootstrap([-value for value in values], fmean)
    assert (other.low, other.high) == (-found.high, -found.low)


def test_many_seeds_are_drawn_at_random_and_the_same_each_time():
    """The means of 30 numbers of variance σ² have the deviation σ/√30, and 1.96 of it on either side."""
    values = [float(value) for value in range(30)]
    found = bootstrap(values, fmean)
    assert found == bootstrap(values, fmean)
    assert (found.exact, found.resamples, found.distinct) == (False, DRAWS, math.comb(59, 30))
    assert found.method == "95 % percentile bootstrap over 30 seeds, 10,000 random resamples"
    half = 1.96 * pstdev(values) / math.sqrt(30)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.06 * half)


def test_random_draws_agree_with_all_resamples():
    """Eight seeds are the most of which all are taken; twice the same eight are 16, drawn, of half the variance."""
    values = [1.0, 2.0, 4.0, 8.0, 9.0, 11.0, 12.0, 15.0]
    exact, drawn = bootstrap(values, fmean), bootstrap(values * 2, fmean)
    assert exact.exact
    assert not drawn.exact
    assert (drawn.high - drawn.low) * math.sqrt(2) == pytest.approx(exact.high - exact.low, rel=0.05)


def test_one_seed_gives_no_interval_and_says_so():
    found = bootstrap([5.0], fmean)
    assert (found.value, found.low, found.high, found.method) == (5.0, None, None, "")
    assert found.reason == "one seed gives no interval; run two or more"


def test_whole_curves_are_resampled_with_methods_paired():
    """The second method is 1, 2 or 6 below the first, whatever the seed's own level: levels cancel in every pair."""
    pairs = [
        ([(0, level), (10, level - 5)], [(0, level - gap), (10, level - 5 - gap)])
        for level, gap in ((50, 1), (200, 2), (90, 6))
    ]

    def difference(drawn):
        means = common_means([curve for pair in drawn for curve in pair]).means
        return fmean(means[1::2]) - fmean(means[::2])

    found = bootstrap(pairs, difference)
    assert (found.value, found.low, found.high) == pytest.approx((-3.0, -6.0, -1.0))


def test_seeds_are_drawn_within_their_dataset():
    """On one dataset all seeds agree, so the spread is half of the other's, whose resamples are its own 27."""
    found = bootstrap_over_datasets({"mnist": [3.0, 3.0, 3.0], "svhn": [1.0, 2.0, 6.0]}, fmean)
    assert (found.value, found.low, found.high) == (3.0, 2.0, 4.5)
    assert (found.seeds, found.resamples, found.distinct, found.exact) == ((3, 3), 27 * 27, 100, True)
    assert found.method == "95 % percentile bootstrap over 3 + 3 seeds, all 729 resamples, 100 of them different"


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=3), min_size=2, max_size=3))
@settings(max_examples=30, deadline=None)
def test_the_interval_over_datasets_is_that_of_all_combinations_written_out(strata):
    means = [
        fmean(row)
        for row in itertools.product(*([fmean(draw) for draw in itertools.product(s, repeat=len(s))] for s in strata))
    ]
    found = bootstrap_over_datasets(dict(zip("abc", strata, strict=False)), fmean)
    assert (found.low, found.high) == pytest.approx(ends_of_all(means, 0.95), rel=1e-9, abs=1e-9)
    assert found.resamples == len(means)


def test_combinations_too_many_are_drawn():
    found = bootstrap_over_datasets({name: [1.0, 2.0, 3.0] for name in "abcdef"}, fmean)
    assert (found.exact, found.resamples, found.distinct) == (False, DRAWS, 10**6)
    half = 1.96 * math.sqrt(2 / 3 / 18)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=0.06)


def test_ratios_over_datasets_are_combined_as_ratios():
    found = bootstrap_over_datasets({"a": [2.0, 2.0], "b": [8.0, 8.0]}, geometric_mean, combine=geometric_mean)
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))


def test_one_seed_on_one_dataset_gives_no_interval():
    found = bootstrap_over_datasets({"mnist": [1.0], "svhn": [1.0, 3.0]}, fmean)
    assert (found.value, found.low) == (1.5, None)
    assert found.reason == "one seed on mnist gives no interval; run two or more"


@given(PAIRS)
def test_improvement_is_the_mann_whitney_statistic(pairs):
    first, second = zip(*pairs, strict=True)
    statistic = mannwhitneyu(second, first).statistic
    assert probability_of_improvement(pairs) == pytest.approx(statistic / len(pairs) ** 2)


@given(PAIRS)
def test_improvements_of_two_methods_over_each_other_add_up_to_1(pairs):
    turned = [(other, one) for one, other in pairs]
    assert probability_of_improvement(pairs) + probability_of_improvement(turned) == pytest.approx(1)


def test_the_probability_of_improvement_has_an_interval():
    """The third loses to the first alone: of 9 comparisons 8 are won, or 7 where one of the two is drawn twice."""
    found = bootstrap([(1.0, 4.0), (2.0, 5.0), (4.5, 6.0)], probability_of_improvement)
    assert (found.value, found.low, found.high) == (pytest.approx(8 / 9), pytest.approx(7 / 9), 1.0)


def test_methods_are_paired_by_seed():
    assert pair_by_seed({2: "c", 0: "a"}, {0: "A", 2: "C"}) == (("a", "A"), ("c", "C"))


def test_a_seed_of_one_method_alone_is_refused():
    with pytest.raises(ValueError, match="only one of the two methods has seed 3; run it for both, or leave it out"):
        pair_by_seed({0: 1.0, 3: 1.0}, {0: 1.0})


@pytest.mark.parametrize(
    ("units", "level", "error"),
    [
        ({"": []}, 0.95, "there are no seeds; leave the dataset out or run it"),
        ({"svhn": []}, 0.95, "there are no seeds of svhn; leave the dataset out or run it"),
        ({}, 0.95, "there is no dataset to resample"),
        ({"": [1.0, math.nan]}, 0.95, "the statistic is nan for a resample; leave out the seeds that have no number"),
        ({"svhn": [1.0, math.inf]}, 0.95, "the statistic of svhn is inf for a resample"),
        ({"": [1.0, 2.0]}, 95, "the confidence level is 95; it must be between 0 and 1, such as 0.95"),
        ({"": [1.0, 2.0]}, math.nan, "the confidence level is nan"),
    ],
)
def test_what_cannot_be_resampled_is_refused(units, level, error):
    with pytest.raises(ValueError, match=error):
        bootstrap_over_datasets(units, fmean, level=level)


def test_no_pair_has_no_probability():
    with pytest.raises(ValueError, match="there is no pair of numbers to compare"):
        probability_of_improvement([])
