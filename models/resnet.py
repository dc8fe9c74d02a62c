from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.tables import Convolution, Dense, ResidualBlock, Table, TabledArchitecture, TransposedConvolution


@dataclass(frozen=True)
class ResNet(TabledArchitecture):
    """The residual VAE of MR-VAE (Bae et al. 2022, Figure 1; MNIST and Omniglot), without any norm."""

    name = "resnet"
    tables: ClassVar = {
        (1, 28, 28): Table(
            encoder=(
                Convolution(64, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=3, stride=2, padding=1),
                ResidualBlock(),
                ResidualBlock(),
            ),
            decoder=(
                Dense((128, 4, 4), gated=False, relu=False),
                TransposedConvolution(128, kernel=3, stride=2, padding=1),
                ResidualBlock(),
                ResidualBlock(),
                TransposedConvolution(64, kernel=3, stride=2, padding=1, output_padding=1),
                TransposedConvolution(1, kernel=3, stride=2, padding=1, output_padding=1, gated=False, relu=False),
            ),
        ),
    }
