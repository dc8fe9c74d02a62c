"""Distortions, and the objective that weighs them against rates."""

from __future__ import annotations

import pytest
import torch

from models.likelihoods import LIKELIHOODS
from models.objectives import OBJECTIVES
from models.vae import ModelOutput, gaussian_rate


def test_bernoulli_distortion_is_the_negative_log_probability():
    """The distortion agrees with torch.distributions, summed over all pixels."""
    logits, x = 3 * torch.randn(4, 1, 5, 6), torch.rand(4, 1, 5, 6).round()
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(LIKELIHOODS["bernoulli"].distortion(logits, x), expected)


def test_bernoulli_distortion_is_exact_at_extreme_logits():
    """A certain and wrong pixel costs its logit, a certain and right one nothing."""
    logits = torch.tensor([1000.0, 1000.0]).view(2, 1, 1, 1)
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert LIKELIHOODS["bernoulli"].distortion(logits, x).tolist() == [1000.0, 0.0]


def test_squared_error_is_the_plain_sum_over_the_sigmoid_output():
    """Neither halved nor averaged."""
    logits, x = torch.randn(4, 3, 5, 6), torch.rand(4, 3, 5, 6)
    expected = (torch.sigmoid(logits) - x).square().sum((1, 2, 3))
    torch.testing.assert_close(LIKELIHOODS["squared-error"].distortion(logits, x), expected)


def test_units():
    """Each likelihood says what its distortion is measured in."""
    assert {name: each.unit for name, each in LIKELIHOODS.items()} == {
        "bernoulli": "nats",
        "squared-error": "sse",
    }


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_distortion_is_computed_in_float32_from_bfloat16_logits(name):
    """Sums over pixels keep float32 precision under bfloat16 autocast."""
    logits, x = torch.randn(2, 1, 28, 28).bfloat16(), torch.rand(2, 1, 28, 28).round()
    expected = LIKELIHOODS[name].distortion(logits.float(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(LIKELIHOODS[name].distortion(logits, x), expected, rtol=1e-6, atol=0)
        assert LIKELIHOODS[name].mean(logits).dtype == torch.float32


def test_gaussian_rate_is_the_kl_divergence():
    """The closed form agrees with torch.distributions, over latents of any shape."""
    mean, log_variance = torch.randn(5, 2, 3), torch.randn(5, 2, 3)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum((1, 2))
    torch.testing.assert_close(gaussian_rate(mean, log_variance), expected)


def output(distortion, rates):
    """Return evidence with these numbers and nothing else."""
    return ModelOutput(torch.tensor(distortion), torch.tensor(rates), (), torch.empty(0))


def test_beta_elbo_weighs_each_examples_rate_by_its_own_beta():
    loss = OBJECTIVES["beta-elbo"](output([10.0, 20.0], [[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5], [2.0]]), 2)
    assert loss.tolist() == [11.5, 34.0]


def test_beta_elbo_takes_one_beta_for_each_latent_layer():
    weights = torch.tensor([[1.0, 10.0], [0.0, 0.5]])
    loss = OBJECTIVES["beta-elbo"](output([10.0, 20.0], [[1.0, 2.0], [3.0, 4.0]]), weights, 2)
    assert loss.tolist() == [31.0, 22.0]
