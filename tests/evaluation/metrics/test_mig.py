import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from evaluation.metrics.mig import mig, mig_histogram

SIZES = (3, 4, 5)
GRID = np.array(list(itertools.product(*map(range, SIZES))))
NARROW = np.full((len(GRID), len(SIZES)), 2 * np.log(0.01))


def integrated(means, factors=GRID, log_variances=None, **options):
    return mig(
        means, np.full_like(means, 2 * np.log(0.01)) if log_variances is None else log_variances, factors, **options
    )


def binned(means, factors=GRID, **options):
    return mig_histogram(means, factors, **options)


BOTH = pytest.mark.parametrize("estimate", [integrated, binned])


def random_posteriors(seed, examples=40, units=2):
    """Return overlapping posteriors (N, K) of widths from 0.05 to 0.8 and three values of one factor."""
    random = np.random.default_rng(seed)
    factors = np.arange(examples)[:, None] % 3
    means = random.standard_normal((examples, units)) + factors * np.linspace(0, 1, units)
    return means, 2 * np.log(random.uniform(0.05, 0.8, means.shape)), factors


def mixture_density(points, means, log_variances):
    return norm.pdf(points[:, None], means, np.exp(log_variances / 2)).mean(axis=1)


def integral_of_entropy(means, log_variances):
    """Return the entropy (one unit) by a sum of every density at points far closer than any is wide."""
    points = np.linspace(means.min() - 10, means.max() + 10, 10_000)
    density = mixture_density(points, means, log_variances)
    return -np.trapezoid(np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0), points)


def sampled_entropy(means, log_variances, random, samples=10_000):
    """Return the estimate of Chen et al. (one unit) and its variance: samples of q(z), scored against all of it."""
    rows = random.integers(len(means), size=samples)
    points = means[rows] + np.exp(log_variances[rows] / 2) * random.standard_normal(samples)
    surprises = -np.log(mixture_density(points, means, log_variances))
    return surprises.mean(), surprises.var() / samples


@BOTH
def test_a_perfect_code_has_a_gap_of_1(estimate):
    found = estimate(GRID.astype(float))
    assert found.gap == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found.information_nats, np.diag(np.log(SIZES)), atol=1e-9)
    np.testing.assert_allclose(found.entropies_nats, np.log(SIZES), rtol=1e-14)
    assert (found.factors, found.examples) == ((0, 1, 2), 60)


@BOTH
def test_a_constant_code_has_none(estimate):
    found = estimate(np.full((len(GRID), 4), 0.3))
    assert found.gap == 0
    np.testing.assert_allclose(found.information_nats, 0, atol=1e-12)


@BOTH
def test_a_duplicated_code_has_none(estimate):
    """Two units that tell the same of a factor leave no gap, whatever they tell."""
    found = estimate(np.hstack([GRID, GRID]).astype(float))
    assert found.gap == 0
    assert found.information_nats.max(axis=0) == pytest.approx(np.log(SIZES), abs=1e-9)


@BOTH
@given(seed=st.integers(0, 1000), random=st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_units_and_examples_changes_nothing(estimate, seed, random):
    means = GRID + np.random.default_rng(seed).standard_normal(GRID.shape)
    units, rows = random.sample(range(3), 3), random.sample(range(60), 60)
    permuted = estimate(means[rows][:, units], GRID[rows])
    assert permuted.gaps == pytest.approx(estimate(means).gaps, abs=1e-10)


@BOTH
def test_a_unit_that_tells_nothing_changes_nothing(estimate):
    """So a single unit has a second, of 0."""
    means = GRID[:, :1] + 0.0
    with_idle = np.hstack([means, np.zeros((60, 1))])
    assert estimate(means).gaps == pytest.approx((1.0, 0.0, 0.0), abs=1e-9)
    assert estimate(with_idle).gaps == pytest.approx(estimate(means).gaps, abs=1e-9)


@BOTH
def test_a_factor_can_be_excluded(estimate):
    """The other factors' gaps stay what they were, and the result says which they are."""
    means = GRID + np.random.default_rng(0).standard_normal(GRID.shape)
    found = estimate(means, excluded=(0,))
    assert found.factors == (1, 2)
    assert found.gaps == pytest.approx(estimate(means).gaps[1:])
    assert found.gap == pytest.approx(np.mean(found.gaps))


@BOTH
def test_values_of_factors_are_names(estimate):
    """Which integers number the values does not matter."""
    means = GRID + np.random.default_rng(0).standard_normal(GRID.shape)
    assert estimate(means, GRID * -7 + 100).gaps == pytest.approx(estimate(means).gaps, abs=1e-12)


def test_two_forms_are_told_apart():
    means = GRID.astype(float)
    assert integrated(means).estimator == "mixture-integral"
    assert binned(means).estimator == "histogram-20"
    assert binned(means, bins=5).estimator == "histogram-5"


@pytest.mark.parametrize("seed", range(4))
def test_the_integral_is_that_of_the_mixtures(seed):
    """I = H(z) - Σ p(v) H(z | v), each entropy from the density of every posterior, summed; 1e-4 nats."""
    means, log_variances, factors = random_posteriors(seed)
    found = mig(means, log_variances, factors)
    for unit, information in enumerate(found.information_nats[:, 0]):
        marginal = integral_of_entropy(means[:, unit], log_variances[:, unit])
        conditional = [
            (factors[:, 0] == value).mean()
            * integral_of_entropy(*(array[factors[:, 0] == value, unit] for array in (means, log_variances)))
            for value in range(3)
        ]
        assert information == pytest.approx(marginal - sum(conditional), abs=1e-4)


def test_the_integral_is_what_sampling_estimates():
    """Chen et al. average over 10,000 samples of each mixture; four of its standard errors are 0.03 nats."""
    means, log_variances, factors = random_posteriors(5, examples=60, units=1)
    random = np.random.default_rng(6)
    marginal, variance = sampled_entropy(means[:, 0], log_variances[:, 0], random)
    groups = [factors[:, 0] == value for value in range(3)]
    parts = [sampled_entropy(means[rows, 0], log_variances[rows, 0], random) for rows in groups]
    sampled = marginal - np.mean([entropy for entropy, _ in parts])
    deviation = np.sqrt(variance + sum(part for _, part in parts) / 9)
    assert deviation < 0.01
    assert mig(means, log_variances, factors).information_nats.item() == pytest.approx(sampled, abs=4 * deviation)


def test_two_gaussians_tell_as_much_as_a_binary_channel():
    """Means ±1 and a deviation of 1: I(z; v) = 0.33663 nats, the capacity of that channel by quadrature."""
    means = np.array([[-1.0], [1.0]])
    found = mig(means, np.zeros((2, 1)), np.array([[0], [1]]))
    z = np.linspace(-12, 12, 20_001)
    expected = np.trapezoid(norm.pdf(z, 1) * np.log(2 / (1 + np.exp(-2 * z))), z)
    assert found.information_nats.item() == pytest.approx(expected, abs=1e-7)


@given(st.integers(0, 10_000), st.floats(-8, 3))
@settings(max_examples=15, deadline=None)
def test_information_is_between_0_and_the_entropy_of_the_factor(seed, log_variance):
    means, log_variances, factors = random_posteriors(seed)
    found = mig(means, log_variances + log_variance, factors)
    assert (found.information_nats >= 0).all()
    assert (found.information_nats <= found.entropies_nats + 1e-9).all()


def test_an_offset_and_a_scale_of_a_unit_change_nothing():
    """Information does not depend on coordinates; the grid moves with the posteriors, so neither does its error."""
    means, log_variances, factors = random_posteriors(7)
    moved = mig(1000 + 8 * means, log_variances + 2 * np.log(8), factors)
    np.testing.assert_allclose(moved.information_nats, mig(means, log_variances, factors).information_nats, atol=1e-6)


def test_a_posterior_too_narrow_for_the_grid_is_widened():
    """A deviation of e^-50 beside one of 1 would need 1e22 points; it tells no more than 1/16,384 of the range."""
    means = np.arange(6.0)[:, None]
    log_variances = np.array([-100.0, 0, 0, 0, 0, 0])[:, None]
    factors = np.array([0, 1, 1, 1, 1, 1])[:, None]
    exact = mig(means, log_variances, factors)
    assert exact.information_nats.item() == pytest.approx(exact.entropies_nats.item(), abs=5e-3)


def test_shares_weigh_the_values_of_a_factor():
    """Half as many examples of a value: H(v) and I are those of a factor of 1/3 and 2/3."""
    found = mig(np.array([[0.0], [1.0], [1.0]]), np.full((3, 1), -10.0), np.array([[0], [1], [1]]))
    entropy = -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    assert found.entropies_nats.item() == pytest.approx(entropy, rel=1e-14)
    assert found.information_nats.item() == pytest.approx(entropy, abs=1e-9)


def test_twenty_bins_of_one_width_are_counted():
    """Means 0, 1, ..., 19 and 39: 20 bins of 1.95 put two means in a bin; the factor is even or odd.

    Bins 0 to 9 hold an even and an odd mean each, the last one an odd: of 21 examples 20 are told nothing of.
    """
    means = np.append(np.arange(20.0), 39.0)[:, None]
    parity = np.append(np.arange(20) % 2, 1)[:, None]
    found = mig_histogram(means, parity)
    entropy = -(10 / 21 * np.log(10 / 21) + 11 / 21 * np.log(11 / 21))
    assert found.information_nats.item() == pytest.approx(entropy - 20 / 21 * np.log(2), abs=1e-12)


def test_tensors_are_taken():
    means, log_variances, factors = random_posteriors(8)
    tensors = torch.tensor(means).float(), torch.tensor(log_variances).float(), torch.tensor(factors)
    assert mig(*tensors).gap == pytest.approx(mig(means, log_variances, factors).gap, abs=1e-4)
    assert mig_histogram(tensors[0], tensors[2]).gap == pytest.approx(mig_histogram(means, factors).gap)


@BOTH
def test_a_factor_that_does_not_vary_is_refused(estimate):
    with pytest.raises(ValueError, match=r"factor 1 \(column, from 0\) has one value, 0, in all 60 examples"):
        estimate(GRID.astype(float), GRID * [1, 0, 1])
    assert estimate(GRID.astype(float), GRID * [1, 0, 1], excluded=(1,)).factors == (0, 2)


@BOTH
def test_bad_arguments_are_refused(estimate):
    means = GRID.astype(float)
    with pytest.raises(ValueError, match="60 posteriors and 59 rows of factors"):
        estimate(means, GRID[1:])
    with pytest.raises(ValueError, match="no factor 3 to exclude; the columns are 0 to 2"):
        estimate(means, excluded=(3,))
    with pytest.raises(ValueError, match="all 3 factors are excluded"):
        estimate(means, excluded=(0, 1, 2))


def test_shapes_of_posteriors_must_agree():
    with pytest.raises(ValueError, match=r"means \(60, 3\) and log variances \(60, 2\)"):
        mig(GRID.astype(float), NARROW[:, :2], GRID)


def test_one_bin_is_refused():
    with pytest.raises(ValueError, match="1 bins"):
        mig_histogram(GRID.astype(float), GRID, bins=1)
