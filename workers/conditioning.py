"""Which β an example is trained or measured at, and what a multi-rate network is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.gates import sample_log_uniform_beta, standardise_log_beta
from workers.trial import MultiRateVAE

if TYPE_CHECKING:
    from workers.trial import Method


def training_betas(method: Method, examples: int, generator: torch.Generator) -> torch.Tensor:
    """Return the β of each example of a training batch, (B, 1): drawn for an MR-VAE, the one β for a β-VAE."""
    if isinstance(method, MultiRateVAE):
        return sample_log_uniform_beta(examples, method.beta_low, method.beta_high, generator, generator.device)
    return torch.full((examples, 1), method.beta, device=generator.device)


def condition_on(method: Method, betas: torch.Tensor) -> torch.Tensor | None:
    """Return the gates' input for these β, (B, 1), or None for a model without gates."""
    if isinstance(method, MultiRateVAE):
        return standardise_log_beta(betas, method.beta_low, method.beta_high)
    return None
