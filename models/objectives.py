"""What is minimised: each objective maps a batch's evidence and its β to a loss per example."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.vae import Evidence


def beta_elbo(evidence: Evidence, weights: Tensor, examples: int) -> Tensor:  # noqa: ARG001 (others need it)
    """Return distortion + β · rate (B,) of each example (MR-VAE, Eq. 1 and 3).

    `weights` are each example's β: (B, 1) for all latent layers alike, (B, L) for one per layer. `examples` is the
    size of the training set.
    """
    return evidence.distortion + (weights * evidence.rates).sum(1)


OBJECTIVES: dict[str, Callable[[Evidence, Tensor, int], Tensor]] = {"beta-elbo": beta_elbo}
