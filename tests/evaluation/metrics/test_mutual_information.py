import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from evaluation.metrics.mutual_information import mutual_information


def posteriors(seed, examples, units, deviation=0.5):
    """Return means, log variances and samples (N, K) of posteriors of differing widths."""
    random = np.random.default_rng(seed)
    means = random.standard_normal((examples, units))
    log_variances = 2 * np.log(deviation) + 0.5 * random.standard_normal((examples, units))
    return means, log_variances, means + np.exp(log_variances / 2) * random.standard_normal((examples, units))


def by_self_pairs(means, log_variances, samples):
    """Return what published code computes: every sample's density under its own posterior only, taken N times less."""
    own = norm.logpdf(samples, means, np.exp(log_variances / 2)).sum(axis=1)
    return float((own - (logsumexp(own[:, None], axis=1) - np.log(len(own)))).mean())


def test_a_collapsed_posterior_has_no_information():
    """All posteriors are the prior; scoring each sample against itself alone would say ln N."""
    zeros, samples = np.zeros((500, 4)), np.random.default_rng(0).standard_normal((500, 4))
    found = mutual_information(zeros, zeros, samples)
    assert found.nats == pytest.approx(0, abs=1e-12)
    assert (found.cap_nats, found.examples) == (math.log(500), 500)
    assert by_self_pairs(zeros, zeros, samples) == pytest.approx(math.log(500))


@pytest.mark.parametrize(("gain", "deviation"), [(1.0, 0.5), (0.3, 1.0), (2.0, 0.25)])
def test_a_gaussian_channel_has_its_capacity(gain, deviation):
    """With x ~ N(0, 1) and z | x ~ N(ax, s²), I = ½ ln(1 + a²/s²); four standard errors of 4,000 samples."""
    random = np.random.default_rng(1)
    means = gain * random.standard_normal((4000, 1))
    samples = means + deviation * random.standard_normal(means.shape)
    found = mutual_information(means, np.full_like(means, 2 * np.log(deviation)), samples)
    expected = 0.5 * np.log1p((gain / deviation) ** 2)
    assert found.nats == pytest.approx(expected, abs=4 / np.sqrt(4000))


def test_posteriors_that_do_not_overlap_reach_the_cap():
    """Any more information than ln N is out of reach of N examples."""
    means = np.arange(50.0)[:, None] * 100
    found = mutual_information(means, np.zeros_like(means), means)
    assert found.nats == pytest.approx(math.log(50), abs=1e-12)


def test_the_definition_over_more_than_one_chunk():
    """Each of 300 samples against each of 300 posteriors, in one array of (N, N, K)."""
    means, log_variances, samples = posteriors(2, 300, 3)
    densities = norm.logpdf(samples[:, None], means, np.exp(log_variances / 2)).sum(axis=2)
    expected = (np.diag(densities) - logsumexp(densities, axis=1) + np.log(300)).mean()
    assert mutual_information(means, log_variances, samples).nats == pytest.approx(expected, abs=1e-11)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 5), st.floats(1e-3, 10))
@settings(max_examples=50, deadline=None)
def test_never_above_the_cap(seed, examples, units, deviation):
    found = mutual_information(*posteriors(seed, examples, units, deviation))
    assert found.nats <= found.cap_nats + 1e-12


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_examples_and_units_changes_nothing(seed, random):
    arrays = posteriors(seed, 30, 4)
    rows, columns = random.sample(range(30), 30), random.sample(range(4), 4)
    permuted = mutual_information(*(array[rows][:, columns] for array in arrays))
    assert permuted.nats == pytest.approx(mutual_information(*arrays).nats, abs=1e-11)


def test_an_offset_and_a_scale_change_nothing():
    """Information does not depend on coordinates; neither does its precision on where the means are."""
    means, log_variances, samples = posteriors(3, 200, 2)
    moved = mutual_information(1e6 + 10 * means, log_variances + 2 * np.log(10), 1e6 + 10 * samples)
    assert moved.nats == pytest.approx(mutual_information(means, log_variances, samples).nats, abs=1e-8)


def test_tensors_are_taken():
    arrays = posteriors(4, 20, 2)
    tensors = [torch.tensor(array, dtype=torch.float32) for array in arrays]
    assert mutual_information(*tensors).nats == pytest.approx(mutual_information(*arrays).nats, abs=1e-5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(3, 2\), \(3, 2\) and \(2, 2\)"):
        mutual_information(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((2, 2)))
