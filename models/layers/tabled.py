"""Architectures defined by layer tables. Imports torch only to build a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models.architecture import Architecture, Gating, LatentUnits
from models.layers.tables import require_count
from models.shapes import Shape, describe_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.layers.tables import Table
    from models.vae import VAE


@dataclass(frozen=True)
class TabledArchitecture(Architecture):
    """An architecture defined by layer tables: one for each shape of example that it takes."""

    latent_units: LatentUnits = 32

    tables: ClassVar[Mapping[Shape, Table]]

    def __post_init__(self) -> None:
        require_count("latent_units", self.latent_units)

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where there is no table for examples of this shape."""
        if shape not in self.tables:
            accepted = " or ".join(map(describe_shape, self.tables))
            raise ValueError(
                f"architecture {self.name!r} takes examples of shape {accepted}, not {describe_shape(shape)}"
            )

    def table(self, shape: Shape) -> Table:
        """Return the layers for examples of this shape. Raises ValueError where it cannot take them."""
        self.check_shape(shape)
        return self.tables[shape]

    def multi_rate_table(self, shape: Shape) -> Table:
        """Return the layers of the multi-rate model; the default is those of the plain one."""
        return self.table(shape)

    def parameters(self, shape: Shape, multi_rate: bool) -> int:
        """Return the number of trained parameters."""
        table = self.multi_rate_table(shape) if multi_rate else self.table(shape)
        shapes = table.parameter_shapes(shape, self.latent_units, multi_rate)
        return sum(math.prod(each) for each in shapes)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass through the plain model, for cost estimates."""
        return self.table(shape).multiply_adds(shape, self.latent_units)

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> VAE:
        """Return the model with PyTorch's default initialisation; `gating` None builds the plain one."""
        from models.layers.modules import build_vae  # imports torch, which planning must not pay for

        table = self.multi_rate_table(shape) if gating else self.table(shape)
        return build_vae(table, shape, self.latent_units, likelihood, gating)
