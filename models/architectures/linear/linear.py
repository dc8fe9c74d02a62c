"""The options and sizes of the linear VAE; `optimum.py` computes its optimum. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typing_extensions import Doc

from models.architecture import Architecture, LatentUnits
from models.layers.tables import require_count
from models.shapes import describe_shape

if TYPE_CHECKING:
    from models.architecture import Gating
    from models.architectures.linear.network import LinearVAE
    from models.shapes import Shape


@dataclass(frozen=True)
class Linear(Architecture):
    """The two-layer linear VAE (MR-VAE, Eq. 10), for examples of any shape; its optimum is known at every β.

    Encoder E2 E1 (x - μ), variance C2 C1 (diagonal, the same for every x), decoder D2 D1 z + μ. In the multi-rate
    network each row of every factor has a gate; μ has none.
    """

    latent_units: LatentUnits = 32
    exact_gates: Annotated[
        bool, Doc("Use encoder gates that can reach the optimum at every β (√ReLU on E, 1 - √ReLU² on C), not Eq. 7.")
    ] = False

    name = "linear"

    def __post_init__(self) -> None:
        require_count("latent_units", self.latent_units)

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where the shape is not one of positive sizes."""
        if not shape or min(shape) < 1:
            raise ValueError(
                f"architecture 'linear' takes examples of any non-empty shape, not {describe_shape(shape)!r}"
            )

    def check_likelihood(self, likelihood: str) -> None:
        """Raise ValueError where the likelihood is not a Gaussian, the only one with this closed form."""
        if likelihood != "squared-error":
            raise ValueError(
                f"architecture 'linear' has a Gaussian around a linear output: likelihood must be 'squared-error', "
                f"not {likelihood!r}"
            )

    def parameters(self, shape: Shape, multi_rate: bool) -> int:
        """Return the number of trained parameters."""
        self.check_shape(shape)
        values, units = math.prod(shape), self.latent_units
        weights = values * values + 2 * values * units + units * units
        rows = 2 * values + 4 * units
        return weights + 2 * units + values + 2 * rows * multi_rate

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass, for cost estimates without measurements."""
        self.check_shape(shape)
        values, units = math.prod(shape), self.latent_units
        return values * values + 2 * values * units + units * units

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> LinearVAE:
        """Return the model; `gating` None builds the plain one. Raises ValueError unless it is squared error."""
        from models.architectures.linear.network import (
            build_linear_vae,  # imports torch, which planning must not pay for
        )

        self.check_shape(shape)
        self.check_likelihood(likelihood)
        return build_linear_vae(shape, self.latent_units, gating, exact=self.exact_gates)
