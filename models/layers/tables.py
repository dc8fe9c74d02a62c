"""Layer tables: an architecture as data, which determines its shapes, its cost and its modules.

Imports no torch, because planning reads tables for cost estimates. `models.layers.modules` builds the modules of a
table. Gates are in multi-rate networks only, between a layer's norm and its ReLU or tanh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from models.shapes import Shape


@dataclass(frozen=True, kw_only=True)
class GatedLinear:
    """A linear map with bias, then batch norm over channels (`norm`), gate and ReLU or tanh, each optional.

    A gate has one factor for each channel of the output, that is, for each index of its first axis.
    """

    norm: bool = False
    gated: bool = True
    relu: bool = True
    tanh: bool = False

    def __post_init__(self) -> None:
        if self.relu and self.tanh:
            raise ValueError("a layer has a ReLU or a tanh, not both; for a tanh write relu=False, tanh=True")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        raise NotImplementedError

    def weight_shape(self, shape: Shape) -> Shape:
        """Return the shape of the weight in torch."""
        raise NotImplementedError

    def biases(self, shape: Shape) -> int:
        """Return the length of the bias."""
        return self.output_shape(shape)[0]

    def parameter_shapes(self, shape: Shape, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order of its module."""
        per_channel = 2 * self.norm + 2 * (self.gated and multi_rate)
        channels = self.output_shape(shape)[0]
        return [self.weight_shape(shape), (self.biases(shape),), *[(channels,)] * per_channel]

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(GatedLinear):
    """A linear map of the flattened input, reshaped to `out_shape`."""

    out_shape: Shape

    def output_shape(self, shape: Shape) -> Shape:  # noqa: ARG002 (the same for any input)
        """Return the shape of the output."""
        return self.out_shape

    def weight_shape(self, shape: Shape) -> Shape:
        """Return (outputs, inputs)."""
        return (math.prod(self.out_shape), math.prod(shape))

    def biases(self, shape: Shape) -> int:  # noqa: ARG002 (the same for any input)
        """Return the number of outputs."""
        return math.prod(self.out_shape)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        return math.prod(self.weight_shape(shape))


@dataclass(frozen=True)
class Convolution(GatedLinear):
    """A 2D convolution with zero padding."""

    out_channels: int
    kernel: int
    stride: int
    padding: int

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, height, width) of the output."""
        margin = 2 * self.padding - self.kernel
        return (self.out_channels, *((side + margin) // self.stride + 1 for side in shape[1:]))

    def weight_shape(self, shape: Shape) -> Shape:
        """Return (output channels, input channels, kernel, kernel)."""
        return (self.out_channels, shape[0], self.kernel, self.kernel)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass: the whole kernel for every output."""
        return math.prod(self.output_shape(shape)) * shape[0] * self.kernel**2


@dataclass(frozen=True)
class TransposedConvolution(GatedLinear):
    """A 2D transposed convolution."""

    out_channels: int
    kernel: int
    stride: int
    padding: int
    output_padding: int = 0

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, height, width) of the output."""
        margin = self.kernel + self.output_padding - 2 * self.padding
        return (self.out_channels, *((side - 1) * self.stride + margin for side in shape[1:]))

    def weight_shape(self, shape: Shape) -> Shape:
        """Return (input channels, output channels, kernel, kernel)."""
        return (shape[0], self.out_channels, self.kernel, self.kernel)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass: the whole kernel for every input."""
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
        """Return the shape of each parameter, in the order of its module."""
        first, second = self.convolutions(shape)
        return first.parameter_shapes(shape, multi_rate) + second.parameter_shapes(shape, multi_rate)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass."""
        return sum(convolution.multiply_adds(shape) for convolution in self.convolutions(shape))


Layer = GatedLinear | ResidualBlock
AnyLayer = TypeVar("AnyLayer", bound=Layer)


def with_input_shapes(layers: Iterable[AnyLayer], shape: Shape) -> Iterator[tuple[AnyLayer, Shape]]:
    """Yield each layer with the shape of its input, starting from `shape`."""
    for layer in layers:
        yield layer, shape
        shape = layer.output_shape(shape)


def final_shape(layers: Iterable[Layer], shape: Shape) -> Shape:
    """Return the shape of the layers' output for an input of `shape`."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def head(latent_units: int) -> Dense:
    """Return one of the encoder's two heads (mean, and log variance or log σ); neither has a gate."""
    return Dense((latent_units,), gated=False, relu=False)


@dataclass(frozen=True)
class Table:
    """The layers of a VAE with one latent layer: the encoder without its two heads, and the decoder.

    The decoder's input is the latents; its last layer gives the likelihood's logits, in the shape of an example. The
    second head gives log σ², or log σ with `log_sigma`, so that a training step changes log σ² twice as much.
    """

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    log_sigma: bool = False

    def placed_layers(self, shape: Shape, latent_units: int) -> Iterator[tuple[Layer, Shape]]:
        """Yield every layer, heads included, with the shape of its input."""
        yield from with_input_shapes(self.encoder, shape)
        features = final_shape(self.encoder, shape)
        yield head(latent_units), features
        yield head(latent_units), features
        yield from with_input_shapes(self.decoder, (latent_units,))

    def parameter_shapes(self, shape: Shape, latent_units: int, multi_rate: bool) -> list[Shape]:
        """Return the shape of each parameter, in the order of the model."""
        placed = self.placed_layers(shape, latent_units)
        return [each for layer, given in placed for each in layer.parameter_shapes(given, multi_rate)]

    def multiply_adds(self, shape: Shape, latent_units: int) -> int:
        """Return the multiply-adds of one example's forward pass, without elementwise operations."""
        return sum(layer.multiply_adds(given) for layer, given in self.placed_layers(shape, latent_units))


def require_count(option: str, value: object) -> None:
    """Raise ValueError where the value of an option is not a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{option} is {value!r}; it must be a whole number, 1 or more")


def checked_widths(option: str, widths: object) -> tuple[int, ...]:
    """Return the widths of layers as a tuple. Raises ValueError where they are not a list of counts, or are empty."""
    if not isinstance(widths, (list, tuple)) or not widths:
        raise ValueError(f"{option} is {widths!r}; it must be a list of layer widths, such as [256, 256]")
    for width in widths:
        require_count(f"a width in {option}", width)
    return tuple(widths)
