from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.layers.tabled import TabledArchitecture
from models.layers.tables import Convolution, Dense, Table, TransposedConvolution

ENCODER = (
    Convolution(128, kernel=4, stride=2, padding=1, norm=True),
    Convolution(256, kernel=4, stride=2, padding=1, norm=True),
    Convolution(512, kernel=4, stride=2, padding=1, norm=True),
    Convolution(1024, kernel=4, stride=2, padding=1, norm=True),
)


@dataclass(frozen=True)
class Conv(TabledArchitecture):
    """The convolutional VAE with batch norm of MR-VAE (Bae et al. 2022), for 1x28x28, 3x32x32 and 3x64x64.

    The paper uses 32 latent units for MNIST, Omniglot and SVHN, 256 for CIFAR-10 and 64 for CelebA. The kernels are
    those of the authors' models, so features of a decoder may have a size that is not a power of two (33x33, 15x15).
    """

    name = "conv"
    tables: ClassVar = {
        (1, 28, 28): Table(
            encoder=ENCODER,
            decoder=(
                Dense((1024, 4, 4), gated=False, relu=False),
                TransposedConvolution(512, kernel=3, stride=2, padding=1, norm=True),
                TransposedConvolution(256, kernel=3, stride=2, padding=1, output_padding=1, norm=True),
                TransposedConvolution(1, kernel=3, stride=2, padding=1, output_padding=1, gated=False, relu=False),
            ),
        ),
        (3, 32, 32): Table(
            encoder=ENCODER,
            decoder=(
                Dense((1024, 8, 8), gated=False, relu=False),
                TransposedConvolution(512, kernel=4, stride=2, padding=1, norm=True),
                TransposedConvolution(256, kernel=4, stride=2, padding=1, output_padding=1, norm=True),
                TransposedConvolution(3, kernel=4, stride=1, padding=2, gated=False, relu=False),
            ),
        ),
        (3, 64, 64): Table(
            encoder=ENCODER,
            decoder=(
                Dense((1024, 8, 8), gated=False, relu=False),
                TransposedConvolution(512, kernel=5, stride=2, padding=2, norm=True),
                TransposedConvolution(256, kernel=5, stride=2, padding=1, norm=True),
                TransposedConvolution(128, kernel=5, stride=2, padding=2, output_padding=1, norm=True),
                TransposedConvolution(3, kernel=5, stride=1, padding=1, gated=False, relu=False),
            ),
        ),
    }
