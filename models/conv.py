from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.tables import Convolution, Dense, Table, TabledArchitecture, TransposedConvolution


@dataclass(frozen=True)
class Conv(TabledArchitecture):
    """The convolutional VAE with batch norm of MR-VAE (Bae et al. 2022, MNIST and Omniglot)."""

    name = "conv"
    tables: ClassVar = {
        (1, 28, 28): Table(
            encoder=(
                Convolution(128, kernel=4, stride=2, padding=1, norm=True),
                Convolution(256, kernel=4, stride=2, padding=1, norm=True),
                Convolution(512, kernel=4, stride=2, padding=1, norm=True),
                Convolution(1024, kernel=4, stride=2, padding=1, norm=True),
            ),
            decoder=(
                Dense((1024, 4, 4), gated=False, relu=False),
                TransposedConvolution(512, kernel=3, stride=2, padding=1, norm=True),
                TransposedConvolution(256, kernel=3, stride=2, padding=1, output_padding=1, norm=True),
                TransposedConvolution(1, kernel=3, stride=2, padding=1, output_padding=1, gated=False, relu=False),
            ),
        ),
    }
