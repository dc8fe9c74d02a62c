"""Estimates over seeds, their intervals, and the decision by one-sided tests."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.statistics import (
    TEST_LEVEL,
    Estimate,
    difference_of_means,
    mean_estimate,
    mean_over_datasets,
    pair_by_seed,
    ratio_estimate,
    ratio_over_datasets,
    t_quantile,
    without_interval,
)

# Different ones of three decimals: SciPy warns of values that are nearly equal.
VALUES = st.integers(-1_000_000, 1_000_000).map(lambda value: value / 1000)
SEEDS = st.lists(VALUES, min_size=2, max_size=8, unique=True)


@given(SEEDS, st.sampled_from([0.5, 0.9, 0.95]))
@settings(deadline=None)
def test_the_interval_of_a_mean_is_that_of_the_t_test(values, level):
    found = mean_estimate(values, level=level)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    assert found.value == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-6, abs=1e-6), pytest.approx(high, rel=1e-6, abs=1e-6))
    assert (found.level, found.seeds, found.reason) == (level, (len(values),), "")


def test_two_seeds_have_the_quantile_of_the_tables():
    """t(0.975, 1) is 12.706, and the standard error of 1 and 3 is 1."""
    found = mean_estimate([1.0, 3.0])
    assert (found.low, found.high) == (pytest.approx(2 - 12.7062, abs=1e-3), pytest.approx(2 + 12.7062, abs=1e-3))


@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=8), st.floats(0.1, 10.0))
@settings(deadline=None)
def test_a_ratio_and_its_inverse_have_inverse_intervals(values, factor):
    """Which of two methods is the numerator makes no difference, and a common factor is one."""
    found, inverse = ratio_estimate(values), ratio_estimate([1 / value for value in values])
    assert found.value == pytest.approx(statistics.geometric_mean(values))
    assert [1 / found.value, 1 / found.high, 1 / found.low] == pytest.approx(
        [inverse.value, inverse.low, inverse.high], rel=1e-6
    )
    scaled = ratio_estimate([factor * value for value in values])
    assert scaled.low == pytest.approx(factor * found.low, rel=1e-6)


@pytest.mark.parametrize("estimate", [mean_estimate, ratio_estimate])
def test_one_seed_has_no_interval(estimate):
    found = estimate([5.0])
    assert (found.value, found.low, found.high, found.half_width) == (pytest.approx(5.0), None, None, None)
    assert found.reason == "one seed gives no interval; run two or more"


def test_seeds_that_are_all_the_same_have_an_interval_of_no_width():
    found = mean_estimate([2.0, 2.0, 2.0])
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_two_datasets_are_combined_as_welch_does():
    """The half-sum of two means is their difference with one sign turned, whose interval SciPy has."""
    one, other = [3.0, 3.5, 5.0], [1.0, 2.0, 6.0, 9.0]
    found = mean_over_datasets({"mnist": one, "svhn": other})
    interval = stats.ttest_ind(one, [-value for value in other], equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx((statistics.fmean(one) + statistics.fmean(other)) / 2)
    assert (found.low, found.high) == (pytest.approx(interval.low / 2), pytest.approx(interval.high / 2))
    assert found.seeds == (3, 4)


def test_ratios_over_datasets_are_geometric_means():
    found = ratio_over_datasets({"a": [2.0, 2.0], "b": [8.0, 8.0]})
    assert (found.low, found.value, found.high) == tuple(pytest.approx(4.0) for _ in range(3))


def test_a_dataset_of_one_seed_is_named():
    found = mean_over_datasets({"mnist": [1.0], "svhn": [1.0, 3.0]})
    assert (found.value, found.low) == (1.5, None)
    assert found.reason == "one seed on mnist gives no interval; run two or more"


def test_an_interval_that_does_not_apply_is_left_out():
    for values in ([1.0, 2.0], [1.5]):
        found = without_interval(mean_estimate(values))
        assert (found.value, found.low, found.high, found.reason) == (1.5, None, None, "")


def test_seeds_are_paired():
    assert pair_by_seed({1: "a", 0: "b"}, {0: "c", 1: "d"}) == (("b", "c"), ("a", "d"))
    with pytest.raises(ValueError, match="only one of the two methods has seed 2; run it for both, or leave it out"):
        pair_by_seed({0: "a", 2: "b"}, {0: "c"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_estimate([]), "there are no seeds; leave the dataset out or run it"),
        (lambda: mean_over_datasets({"mnist": []}), "there are no seeds on mnist"),
        (lambda: mean_over_datasets({}), "there is no dataset"),
        (lambda: mean_estimate([1.0, math.nan]), "a value is nan; leave out the seeds that have no number"),
        (lambda: mean_estimate([1.0], level=1.0), "the confidence level is 1; it must be between 0 and 1"),
        (lambda: ratio_estimate([1.0, 0.0]), "a ratio is 0; ratios must be above 0"),
        (lambda: ratio_over_datasets({"mnist": [-1.0]}), "a ratio on mnist is -1; ratios must be above 0"),
    ],
)
def test_what_has_no_estimate_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_quantiles_are_those_of_the_tables():
    assert [t_quantile(freedom, 0.975) for freedom in (1, 2, 4, 9)] == pytest.approx(
        [12.706, 4.303, 2.776, 2.262], abs=1e-3
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-9.0, 2.0, "passed"), (1.0, 2.5, "undecided"), (2.1, 3.0, "failed")]
)
def test_a_one_sided_test_lets_anything_pass_that_is_better(low, high, expected):
    assert Estimate((low + high) / 2, low, high).at_most(2.0) == expected
    assert Estimate(0.0).at_most(2.0) == "undecided"


@given(st.lists(VALUES, min_size=2, max_size=6, unique=True), st.lists(VALUES, min_size=1, max_size=6, unique=True))
@settings(deadline=None)
def test_the_interval_is_that_of_the_pooled_t_test(one, other):
    """As SciPy has it, where it has one: it knows no variance of a single value."""
    found = difference_of_means(one, other)
    assert found.value == pytest.approx(statistics.fmean(one) - statistics.fmean(other), abs=1e-9)
    if len(other) > 1:
        low, high = stats.ttest_ind(one, other).confidence_interval(TEST_LEVEL)
        if math.isfinite(low):
            assert found.half_width == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-6)


def test_a_single_reference_is_taken_to_be_spread_as_the_seeds_are():
    """t(0.95, 2) · √(1/3 + 1) of seeds with standard deviation 1; the quantile is that of the tables."""
    found = difference_of_means([1.0, 2.0, 3.0], [0.0])
    assert found.value == 2.0
    assert found.half_width == pytest.approx(2.919986 * math.sqrt(4 / 3), rel=1e-6)


def test_a_single_seed_takes_the_spread_of_the_reference():
    found, other = difference_of_means([0.0], [1.0, 2.0, 3.0]), difference_of_means([1.0, 2.0, 3.0], [0.0])
    assert (found.value, found.half_width) == (-2.0, other.half_width)


def test_one_seed_on_either_side_has_no_interval():
    found = difference_of_means([1.0], [1.0])
    assert (found.value, found.half_width) == (0.0, None)
    assert found.within(1e9) == "undecided"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("value", "half_width", "expected"),
    [
        (0.5, 1.0, "passed"),
        (1.0, 1.0, "passed"),
        (1.5, 1.0, "undecided"),
        (0.0, 2.5, "undecided"),
        (3.0, 1.0, "undecided"),
        (3.5, 1.0, "failed"),
        (2.0, 0.0, "passed"),
        (2.5, 0.0, "failed"),
    ],
)
def test_the_interval_is_within_across_or_beyond_a_tolerance_of_2(value, half_width, expected, sign):
    """Better by more than the tolerance is no agreement either."""
    middle = sign * value
    assert Estimate(middle, middle - half_width, middle + half_width).within(2.0) == expected


@pytest.mark.parametrize(("true_distance", "most"), [(2.0, 0.05), (-2.0, 0.05), (3.0, 0.01)])
def test_a_sweep_beyond_the_tolerance_rarely_passes(true_distance, most):
    """At the tolerance itself in at most 5 % of repetitions (and three standard errors), whatever the spread."""
    generator = np.random.default_rng(0)
    repetitions = 3000
    for spread in (0.2, 1.0):
        seeds = generator.normal(true_distance, spread, (repetitions, 3))
        references = generator.normal(0.0, spread, (repetitions, 1))
        passed = sum(difference_of_means(a, b).within(2.0) == "passed" for a, b in zip(seeds, references, strict=True))
        assert passed / repetitions <= most + 3 * math.sqrt(most * (1 - most) / repetitions)
