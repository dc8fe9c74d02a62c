from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import Doc

from models.layers.tabled import TabledArchitecture
from models.layers.tables import Convolution, Dense, ResidualBlock, Table, TransposedConvolution
from models.shapes import describe_shape

if TYPE_CHECKING:
    from models.shapes import Shape

SHAPE_OF_THE_SMALLER_OUTPUT = (3, 32, 32)
SMALLER_OUTPUT = TransposedConvolution(3, kernel=3, stride=2, padding=1, output_padding=1, gated=False, relu=False)


@dataclass(frozen=True)
class ResNet(TabledArchitecture):
    """The residual VAE of MR-VAE (Bae et al. 2022), without any norm, for 1x28x28, 3x32x32 and 3x64x64.

    The paper uses 32 latent units for MNIST, Omniglot and SVHN, 256 for CIFAR-10 and 64 for CelebA.
    """

    multi_rate_output_kernel: Annotated[
        int | None,
        Doc(
            "Kernel size of the multi-rate output layer: null for that of the plain network, or 3 as in the authors' "
            "code, for 3x32x32 only."
        ),
    ] = None

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
        (3, 32, 32): Table(
            encoder=(
                Convolution(64, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=3, stride=1, padding=1),
                ResidualBlock(),
                ResidualBlock(),
            ),
            decoder=(
                Dense((128, 8, 8), gated=False, relu=False),
                ResidualBlock(),
                ResidualBlock(),
                TransposedConvolution(64, kernel=4, stride=2, padding=1),
                TransposedConvolution(3, kernel=4, stride=2, padding=1, gated=False, relu=False),
            ),
        ),
        (3, 64, 64): Table(
            encoder=(
                Convolution(64, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=4, stride=2, padding=1),
                Convolution(128, kernel=3, stride=2, padding=1),
                Convolution(128, kernel=3, stride=2, padding=1),
                ResidualBlock(),
                ResidualBlock(),
            ),
            decoder=(
                Dense((128, 4, 4), gated=False, relu=False),
                TransposedConvolution(128, kernel=3, stride=2, padding=1),
                ResidualBlock(),
                ResidualBlock(),
                TransposedConvolution(128, kernel=5, stride=2, padding=1),
                TransposedConvolution(64, kernel=5, stride=2, padding=1, output_padding=1),
                TransposedConvolution(3, kernel=4, stride=2, padding=1, gated=False, relu=False),
            ),
        ),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        kernel = self.multi_rate_output_kernel
        if kernel is not None and (not isinstance(kernel, int) or kernel != SMALLER_OUTPUT.kernel):
            raise ValueError(
                f"multi_rate_output_kernel is {kernel!r}; it must be {SMALLER_OUTPUT.kernel}, or null for the output "
                "layer of the plain network"
            )

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where there is no table for this shape, or `multi_rate_output_kernel` is not for it."""
        super().check_shape(shape)
        if self.multi_rate_output_kernel is not None and shape != SHAPE_OF_THE_SMALLER_OUTPUT:
            raise ValueError(
                f"multi_rate_output_kernel {self.multi_rate_output_kernel} is for examples of shape "
                f"{describe_shape(SHAPE_OF_THE_SMALLER_OUTPUT)}, not {describe_shape(shape)}"
            )

    def multi_rate_table(self, shape: Shape) -> Table:
        """Return the layers of the multi-rate model. Raises ValueError where it cannot take examples of this shape."""
        plain = self.table(shape)
        if self.multi_rate_output_kernel is None:
            return plain
        return replace(plain, decoder=(*plain.decoder[:-1], SMALLER_OUTPUT))
