import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import multivariate_normal, norm

from evaluation.metrics.importance_weighted import ImportanceWeights, importance_weighted_nll

LOG_WEIGHTS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-1e4, 1e4, allow_subnormal=False)
)


def of(log_weights):
    return ImportanceWeights.empty().update(log_weights)


def linear_gaussian(proposal_scale, samples, seed=0):
    """Return the log weights (K, B) and the exact log p(x) (B,) of z ~ N(0, 1), x | z ~ N(Wz, 0.5² I) in 3 dimensions.

    Samples come from the exact posterior, widened by `proposal_scale`.
    """
    random = np.random.default_rng(seed)
    loading, noise = np.array([1.0, -0.5, 2.0]), 0.5
    x = random.standard_normal((40, 1)) * loading + noise * random.standard_normal((40, 3))
    precision = 1 + loading @ loading / noise**2
    mean, deviation = x @ loading / noise**2 / precision, proposal_scale / np.sqrt(precision)
    z = mean + deviation * random.standard_normal((samples, 40))
    joint = norm.logpdf(x, z[..., None] * loading, noise).sum(axis=-1) + norm.logpdf(z)
    exact = multivariate_normal(cov=np.outer(loading, loading) + noise**2 * np.eye(3)).logpdf(x)
    return joint - norm.logpdf(z, mean, deviation), exact


def test_one_sample_is_the_negative_elbo():
    """It is log p(x|z) - [log q(z|x) - log p(z)], averaged and negated."""
    found = importance_weighted_nll([of(np.array([[-90.0, -110.0]]))])
    assert (found.nats, found.samples, found.examples) == (100.0, 1, 2)


def test_the_exact_posterior_gives_the_exact_likelihood():
    """Every weight is p(x): one sample is enough."""
    log_weights, exact = linear_gaussian(1.0, samples=1)
    assert importance_weighted_nll([of(log_weights)]).nats == pytest.approx(-exact.mean(), abs=1e-10)


def test_many_samples_of_another_posterior_come_to_the_exact_likelihood():
    """Twice as wide: the ELBO is ln 2 - 3/2 nats off in the mean, 5,000 samples are not by 0.01."""
    log_weights, exact = linear_gaussian(2.0, samples=5000)
    assert importance_weighted_nll([of(log_weights)]).nats == pytest.approx(-exact.mean(), abs=0.01)
    gap = exact.mean() - log_weights.mean()
    assert gap == pytest.approx(1.5 - np.log(2), abs=0.02)


@given(arrays.arrays(np.float64, (5, 1), elements=st.floats(-50, 50, allow_subnormal=False)))
@settings(max_examples=50)
def test_the_bound_never_rises_with_samples(log_weights):
    """Exactly so for the mean over all subsets of K of five weights (Burda et al. 2016, theorem 1)."""
    bounds = [
        np.mean(
            [
                importance_weighted_nll([of(log_weights[list(rows)])]).nats
                for rows in itertools.combinations(range(5), k)
            ]
        )
        for k in range(1, 6)
    ]
    assert (np.diff(bounds) <= 1e-9).all()


@given(LOG_WEIGHTS, st.data())
@settings(max_examples=50)
def test_batches_and_their_order_change_nothing(log_weights, data):
    order = list(data.draw(st.permutations(range(len(log_weights)))))
    parts = np.split(log_weights[order], sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=3))))
    streamed = ImportanceWeights.empty()
    for part in parts:
        streamed = streamed.update(part)
    assert streamed.samples == len(log_weights)
    np.testing.assert_allclose(streamed.log_likelihoods(), of(log_weights).log_likelihoods(), rtol=1e-12, atol=1e-9)


def test_merging_empty_changes_nothing():
    weights = of(np.zeros((2, 3)))
    assert weights.merge(ImportanceWeights.empty()) is weights
    assert ImportanceWeights.empty().merge(weights) is weights


def test_every_example_weighs_the_same_in_any_batch():
    log_weights = np.random.default_rng(0).standard_normal((4, 7))
    whole = importance_weighted_nll([of(log_weights)])
    halves = importance_weighted_nll([of(log_weights[:, :5]), of(log_weights[:, 5:])])
    assert halves.nats == pytest.approx(whole.nats, abs=1e-14)
    assert (halves.samples, halves.examples) == (4, 7)


def test_weights_of_nothing_are_no_trouble():
    """A sample that cannot have made x adds nothing; exponentials of -1e5 and 1e5 are outside float64."""
    found = of(np.array([[-np.inf, -1e5, 1e5], [0.0, -1e5, 1e5]])).log_likelihoods()
    np.testing.assert_allclose(found, [-np.log(2), -1e5, 1e5], rtol=1e-15)


def test_not_a_number_is_not_hidden():
    assert np.isnan(importance_weighted_nll([of(np.array([[np.nan, 0.0]]))]).nats)


def test_tensors_are_taken():
    tensor = torch.zeros(2, 3, requires_grad=True)
    assert importance_weighted_nll([of(tensor)]).nats == pytest.approx(0, abs=1e-15)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        of(np.zeros(3))
    with pytest.raises(ValueError, match="3 and 2 examples cannot be merged"):
        of(np.zeros((1, 3))).update(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="no samples were drawn"):
        ImportanceWeights.empty().log_likelihoods()
    with pytest.raises(ValueError, match=r"\[2, 3\] samples an example"):
        importance_weighted_nll([of(np.zeros((2, 1))), of(np.zeros((3, 1)))])
    with pytest.raises(ValueError, match="no samples an example"):
        importance_weighted_nll([])
