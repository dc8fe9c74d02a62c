"""The β values of a batch's examples, and the condition of a multi-rate network for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from evaluation.operating_points import beta_text, common_beta
from models.gates import sample_log_uniform_beta, standardise_log_beta
from workers.trial import MultiRateVAE

if TYPE_CHECKING:
    from evaluation.operating_points import Betas
    from workers.trial import Method


def training_betas(method: Method, examples: int, generator: torch.Generator) -> torch.Tensor:
    """Return the β of each example of a training batch, (B, 1): drawn for an MR-VAE, constant for a β-VAE."""
    if isinstance(method, MultiRateVAE):
        return sample_log_uniform_beta(examples, method.beta_low, method.beta_high, generator, generator.device)
    return torch.full((examples, 1), method.beta, device=generator.device)


def condition_on(method: Method, betas: torch.Tensor) -> torch.Tensor | None:
    """Return the gates' input for these β, (B, 1), or None for a model without gates."""
    if isinstance(method, MultiRateVAE):
        return standardise_log_beta(betas, method.beta_low, method.beta_high)
    return None


def condition_at(method: Method, betas: Betas, examples: int, device: torch.device) -> torch.Tensor | None:
    """Return the gates' input (B, 1) at an operating point, or None for a model without gates.

    Raises:
        ValueError: the latent layers have different β, and the gates take one.
    """
    if not isinstance(method, MultiRateVAE):
        return None
    beta = common_beta(betas)
    if beta is None:
        raise ValueError(f"the gates of an {method.kind} take one β for all latent layers, not {beta_text(betas)}")
    return condition_on(method, torch.full((examples, 1), beta, device=device))
