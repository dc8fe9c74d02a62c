"""Objectives: each computes a loss for each example from the model's output for a batch and the β."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from models.likelihoods import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.vae import ModelOutput, Posterior

LOG_TWO_PI = math.log(2 * math.pi)


class RateTerms(NamedTuple):
    """The terms of the rate at the drawn latents, log q(z|x) - log p(z) (Chen et al. 2018, Eq. 2); each (B,)."""

    mutual_information: Tensor
    """log q(z|x) - log q(z)."""
    total_correlation: Tensor
    """log q(z) - Σ_k log q(z_k)."""
    dimension_wise: Tensor
    """Σ_k log q(z_k) - log p(z)."""


def beta_elbo(output: ModelOutput, weights: Tensor, examples: int) -> Tensor:  # noqa: ARG001 (others need it)
    """Return distortion + β · rate (B,) of each example (MR-VAE, Eq. 1 and 3).

    `weights` are each example's β: (B, 1) for all latent layers alike, (B, L) for one per layer. `examples` is the
    size of the training set.
    """
    return output.distortion + (weights * output.rates).sum(1)


def beta_tcvae(output: ModelOutput, weights: Tensor, examples: int) -> Tensor:
    """Return distortion + rate (B,) of each example, with the rate's total correlation multiplied by β.

    The rate is the one at the drawn latents, and its terms are those of `rate_terms` (β-TCVAE, Chen et al. 2018,
    Eq. 4 with α = γ = 1). `weights` are each example's β (B, 1); `examples` is the size of the training set.

    Raises:
        ValueError: the model has several latent layers, or there are several β per example.
    """
    if len(output.posteriors) > 1 or weights.shape[1] > 1:
        raise ValueError(
            f"objective 'beta-tcvae' is for one latent layer and one β per example; there are "
            f"{len(output.posteriors)} latent layers and {weights.shape[1]} β: choose objective 'beta-elbo'"
        )
    terms = rate_terms(output.posteriors[0], examples)
    weighted = weights[:, 0] * terms.total_correlation
    return output.distortion + terms.mutual_information + weighted + terms.dimension_wise


def rate_terms(posterior: Posterior, examples: int) -> RateTerms:
    """Return the terms of the rate in nats, with q(z) estimated by minibatch-weighted sampling.

    The estimate of q(z_i) is the sum of q(z_i|x_j) over all j of the batch, i included, divided by B · N (Chen et al.
    2018, Eq. 5). It is biased low, and N enters the total correlation as a constant, (K - 1) log N: values of the
    terms can only be compared at the same N and B. They are computed in float32 or more.

    In a multi-rate model x_j's posterior is that at the β of x_j, as in the authors' code: q(z) is the aggregate over
    the β of the batch. The memory for the pairs is proportional to B² K.
    """
    mean, log_variance, sample = (at_least_float32(each).flatten(1) for each in posterior)
    # (B, B, K): the i-th row's latents under the j-th example's posterior.
    pairs = _log_normal(sample.unsqueeze(1), mean.unsqueeze(0), log_variance.unsqueeze(0))
    log_pairs = math.log(len(sample) * examples)
    log_aggregate = pairs.sum(2).logsumexp(1) - log_pairs
    log_marginals = (pairs.logsumexp(1) - log_pairs).sum(1)
    log_posterior = _log_normal(sample, mean, log_variance).sum(1)
    log_prior = -0.5 * (sample.square() + LOG_TWO_PI).sum(1)
    return RateTerms(log_posterior - log_aggregate, log_aggregate - log_marginals, log_marginals - log_prior)


def _log_normal(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    standardised = (value - mean) * (-0.5 * log_variance).exp()
    return -0.5 * (standardised.square() + (log_variance + LOG_TWO_PI))


BATCH_WIDE = frozenset({"beta-tcvae"})
"""Objectives whose loss of one example depends on the other examples of the batch."""
OBJECTIVES: dict[str, Callable[[ModelOutput, Tensor, int], Tensor]] = {"beta-elbo": beta_elbo, "beta-tcvae": beta_tcvae}
