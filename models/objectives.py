"""What is minimised: each objective maps a batch's evidence and its β to a loss per example."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from models.likelihoods import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.vae import Evidence, Posterior

LOG_TWO_PI = math.log(2 * math.pi)


class RateTerms(NamedTuple):
    """What the rate at the drawn latents, log q(z|x) - log p(z), is made of (Chen et al. 2018, Eq. 2); each (B,)."""

    mutual_information: Tensor
    """log q(z|x) - log q(z)."""
    total_correlation: Tensor
    """log q(z) - Σ_k log q(z_k)."""
    dimension_wise: Tensor
    """Σ_k log q(z_k) - log p(z)."""


def beta_elbo(evidence: Evidence, weights: Tensor, examples: int) -> Tensor:  # noqa: ARG001 (others need it)
    """Return distortion + β · rate (B,) of each example (MR-VAE, Eq. 1 and 3).

    `weights` are each example's β: (B, 1) for all latent layers alike, (B, L) for one per layer. `examples` is the
    size of the training set.
    """
    return evidence.distortion + (weights * evidence.rates).sum(1)


def beta_tcvae(evidence: Evidence, weights: Tensor, examples: int) -> Tensor:
    """Return distortion + rate (B,) of each example, the rate's total correlation β times as heavy.

    The rate is the one at the drawn latents, and its terms are those of `rate_terms` (β-TCVAE, Chen et al. 2018,
    Eq. 4 with α = γ = 1). `weights` are each example's β (B, 1); `examples` is the size of the training set.

    Raises:
        ValueError: the model has several latent layers, or there are several β an example.
    """
    if len(evidence.posteriors) > 1 or weights.shape[1] > 1:
        raise ValueError(
            f"objective 'beta-tcvae' is of one latent layer and one β an example; there are "
            f"{len(evidence.posteriors)} latent layers and {weights.shape[1]} β: choose objective 'beta-elbo'"
        )
    terms = rate_terms(evidence.posteriors[0], examples)
    weighted = weights[:, 0] * terms.total_correlation
    return evidence.distortion + terms.mutual_information + weighted + terms.dimension_wise


def rate_terms(posterior: Posterior, examples: int) -> RateTerms:
    """Return the terms of the rate in nats, q(z) being estimated by minibatch-weighted sampling.

    The estimate of q(z_i) is the sum over the batch of q(z_i|x_j), j = i among them, over B · N (Chen et al. 2018,
    Eq. 5). It is low, and N enters the total correlation as a constant, (K - 1) log N: values of the terms may only be
    compared at the same N and B. They are computed in float32 or more.

    In a multi-rate model x_j's posterior is the one at x_j's own β, as the authors have it: q(z) is the aggregate
    over the β of the batch. The pairs take memory in proportion to B² K.
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
"""Those whose loss of one example hangs on the others of its batch."""
OBJECTIVES: dict[str, Callable[[Evidence, Tensor, int], Tensor]] = {"beta-elbo": beta_elbo, "beta-tcvae": beta_tcvae}
