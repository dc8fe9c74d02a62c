"""Layer tables: an architecture as data, from which its shapes, its cost and its modules all follow.

Nothing here imports torch: a table is read for cost estimates when nothing is trained. `models.layers` turns a
table into modules. A gate stands, in multi-rate networks only, after a layer's norm and before its ReLU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from models.architecture import Architecture, Gating, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from models.vae import VAE


@dataclass(frozen=True)
class Dense:
    """A linear map of the flattened input, with bias, reshaped to `out_shape`."""

    out_shape: Shape
    gated: bool = True
    relu: bool = True

    def output_shape(self, _shape: Shape) -> Shape:
        """Return the shape of its output."""
        return self.out_shape

    def parameter_shapes(self, shape: Shape, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order that its module holds them."""
        features = math.prod(self.out_shape)
        return [(features, math.prod(shape)), (features,), *_gate(features, self.gated and multi_rate)]

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        return math.prod(self.out_shape) * math.prod(shape)


@dataclass(frozen=True)
class Convolution:
    """A 2D convolution with bias and zero padding; `norm` puts a batch norm after it."""

    out_channels: int
    kernel: int
    stride: int
    padding: int
    norm: bool = False
    gated: bool = True
    relu: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, height, width) of its output."""
        _, *sides = shape
        return (self.out_channels, *((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in sides))

    def parameter_shapes(self, shape: Shape, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order that its module holds them."""
        weight = (self.out_channels, shape[0], self.kernel, self.kernel)
        return [weight, *_biases(self.out_channels, self.norm), *_gate(self.out_channels, self.gated and multi_rate)]

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        return math.prod(self.output_shape(shape)) * shape[0] * self.kernel**2


@dataclass(frozen=True)
class TransposedConvolution:
    """A 2D transposed convolution with bias; `norm` puts a batch norm after it."""

    out_channels: int
    kernel: int
    stride: int
    padding: int
    output_padding: int = 0
    norm: bool = False
    gated: bool = True
    relu: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, height, width) of its output."""
        _, *sides = shape
        margin = self.kernel + self.output_padding - 2 * self.padding
        return (self.out_channels, *((side - 1) * self.stride + margin for side in sides))

    def parameter_shapes(self, shape: Shape, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order that its module holds them."""
        weight = (shape[0], self.out_channels, self.kernel, self.kernel)
        return [weight, *_biases(self.out_channels, self.norm), *_gate(self.out_channels, self.gated and multi_rate)]

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass: every input meets every weight of its channel."""
        return math.prod(shape) * self.out_channels * self.kernel**2


@dataclass(frozen=True)
class ResidualBlock:
    """ReLU(x + convolution(ReLU(convolution(x)))), both 3x3 and of the input's width.

    Each convolution has a gate: the first before the inner ReLU, the second before the skip is added.
    """

    def convolutions(self, shape: Shape) -> tuple[Convolution, Convolution]:
        """Return the two convolutions of a block on this input."""
        first = Convolution(out_channels=shape[0], kernel=3, stride=1, padding=1)
        second = Convolution(out_channels=shape[0], kernel=3, stride=1, padding=1, relu=False)
        return first, second

    def output_shape(self, shape: Shape) -> Shape:
        """Return the input's shape."""
        return shape

    def parameter_shapes(self, shape: Shape, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order that its module holds them."""
        first, second = self.convolutions(shape)
        return first.parameter_shapes(shape, multi_rate) + second.parameter_shapes(shape, multi_rate)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        return sum(convolution.multiply_adds(shape) for convolution in self.convolutions(shape))


Layer = Dense | Convolution | TransposedConvolution | ResidualBlock
AnyLayer = TypeVar("AnyLayer", bound=Layer)


def with_input_shapes(layers: Iterable[AnyLayer], shape: Shape) -> Iterator[tuple[AnyLayer, Shape]]:
    """Yield each layer with the shape of what it is given, starting from `shape`."""
    for layer in layers:
        yield layer, shape
        shape = layer.output_shape(shape)


def final_shape(layers: Iterable[Layer], shape: Shape) -> Shape:
    """Return the shape that comes out of the layers where `shape` goes in."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def head(latent_units: int) -> Dense:
    """Return one of the encoder's two heads (mean, log variance); neither has a gate."""
    return Dense((latent_units,), gated=False, relu=False)


@dataclass(frozen=True)
class Table:
    """The layers of a VAE with one latent layer: encoder up to its two heads, and decoder from the latents on.

    The decoder's last layer gives the logits of the likelihood, in the shape of an example.
    """

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]

    def placed_layers(self, shape: Shape, latent_units: int) -> Iterator[tuple[Layer, Shape]]:
        """Yield every layer, heads included, with the shape of its input."""
        yield from with_input_shapes(self.encoder, shape)
        features = final_shape(self.encoder, shape)
        yield head(latent_units), features
        yield head(latent_units), features
        yield from with_input_shapes(self.decoder, (latent_units,))

    def parameter_shapes(self, shape: Shape, latent_units: int, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter of the model, in the order that it holds them."""
        placed = self.placed_layers(shape, latent_units)
        return [each for layer, given in placed for each in layer.parameter_shapes(given, multi_rate)]

    def multiply_adds(self, shape: Shape, latent_units: int) -> int:
        """Return the multiply-adds of one example's forward pass; elementwise work, gates too, is not counted."""
        return sum(layer.multiply_adds(given) for layer, given in self.placed_layers(shape, latent_units))


@dataclass(frozen=True)
class TabledArchitecture(Architecture):
    """An architecture given by layer tables: one for each shape of example that it takes."""

    latent_units: int = 32

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

    def parameters(self, shape: Shape, multi_rate: bool) -> int:
        """Return the number of trained parameters."""
        shapes = self.table(shape).parameter_shapes(shape, self.latent_units, multi_rate)
        return sum(math.prod(each) for each in shapes)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass, for cost estimates before anything ran."""
        return self.table(shape).multiply_adds(shape, self.latent_units)

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> VAE:
        """Return the model with PyTorch's default initialisation; `gating` None builds the plain one."""
        from models.layers import build_vae  # noqa: PLC0415 (imports torch, which planning must not pay for)

        return build_vae(self.table(shape), shape, self.latent_units, likelihood, gating)


def require_count(option: str, value: object) -> None:
    """Raise ValueError where the value of an option is not a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{option} is {value!r}; it must be a whole number, 1 or more")


def describe_shape(shape: Shape) -> str:
    """Return a shape as people write it: 1x28x28."""
    return "x".join(map(str, shape))


def _biases(channels: int, norm: bool) -> list[Shape]:
    return [(channels,)] * (3 if norm else 1)


def _gate(features: int, present: bool) -> list[Shape]:
    return [(features,)] * (2 if present else 0)
