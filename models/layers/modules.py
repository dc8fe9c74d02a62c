"""The PyTorch modules of a layer table."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from models.gates import Gate, GatedReLU
from models.layers.tables import (
    Convolution,
    Dense,
    ResidualBlock,
    TransposedConvolution,
    final_shape,
    head,
    with_input_shapes,
)
from models.likelihoods import LIKELIHOODS
from models.vae import SingleLatentVAE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.architecture import Gating
    from models.layers.tables import GatedLinear, Layer, Table
    from models.shapes import Shape


class GatedLayer(nn.Module):
    """A linear map, then norm, gate and ReLU or tanh, each optional."""

    def __init__(
        self, linear: nn.Module, norm: nn.Module | None, gate: Gate | None, relu: bool, tanh: bool = False
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm
        self.gate = gate
        self.relu = relu
        self.tanh = tanh

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the layer's output (B, F, ...)."""
        features = self.linear(features)
        if self.norm is not None:
            features = self.norm(features)
        # ReLU and tanh are in place: no operation before them needs its own output for the backward pass.
        if self.gate is not None:
            features = self.gate(features, condition)  # includes the ReLU, where the layer has one
        elif self.relu:
            features = functional.relu(features, inplace=True)
        return features.tanh_() if self.tanh else features


class Residual(nn.Module):
    """ReLU(x + second(first(x))); the gates are inside the two layers."""

    def __init__(self, first: GatedLayer, second: GatedLayer) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the block's output, of the shape of its input."""
        residual = self.second(self.first(features, condition), condition)
        return functional.relu(residual.add_(features), inplace=True)


class Stack(nn.ModuleList):
    """Layers in sequence, each given the condition."""

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the last layer's output."""
        for layer in self:
            features = layer(features, condition)
        return features


class Flat(nn.Linear):
    """A linear map of the flattened example, reshaped to `out_shape`."""

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(math.prod(in_shape), math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, *out_shape)."""
        return super().forward(features.flatten(1)).view(-1, *self.out_shape)


class GaussianEncoder(nn.Module):
    """Layers, then two linear heads: the mean and the log variance of q(z|x), or log σ with `log_sigma`."""

    def __init__(self, layers: Stack, mean: GatedLayer, log_variance: GatedLayer, log_sigma: bool) -> None:
        super().__init__()
        self.layers = layers
        self.mean = mean
        self.log_variance = log_variance
        self.log_sigma = log_sigma

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (B, latent units)."""
        features = self.layers(x, condition)
        spread = self.log_variance(features, condition)
        return self.mean(features, condition), 2 * spread if self.log_sigma else spread


@singledispatch
def linear_map(layer: GatedLinear, in_shape: Shape) -> nn.Module:
    """Return the linear map of a layer for inputs of this shape."""
    raise TypeError(f"no module is known for {layer!r} on {in_shape}")


@linear_map.register(Dense)
def _(layer: Dense, in_shape: Shape) -> nn.Module:
    return Flat(in_shape, layer.out_shape)


@linear_map.register(Convolution)
def _(layer: Convolution, in_shape: Shape) -> nn.Module:
    return nn.Conv2d(in_shape[0], layer.out_channels, layer.kernel, layer.stride, layer.padding)


@linear_map.register(TransposedConvolution)
def _(layer: TransposedConvolution, in_shape: Shape) -> nn.Module:
    return nn.ConvTranspose2d(
        in_shape[0], layer.out_channels, layer.kernel, layer.stride, layer.padding, layer.output_padding
    )


def gated_layer(layer: GatedLinear, in_shape: Shape, activation: str | None) -> GatedLayer:
    """Return the module of a layer; `activation` is that of its gate, None in a plain network."""
    channels = layer.output_shape(in_shape)[0]
    gate_class = GatedReLU if layer.relu else Gate
    return GatedLayer(
        linear_map(layer, in_shape),
        norm=nn.BatchNorm2d(channels) if layer.norm else None,
        gate=gate_class(channels, activation) if layer.gated and activation else None,
        relu=layer.relu,
        tanh=layer.tanh,
    )


def build_layer(layer: Layer, in_shape: Shape, activation: str | None) -> nn.Module:
    """Return the module of a layer or block; `activation` is that of its gates, None in a plain network."""
    if isinstance(layer, ResidualBlock):
        return Residual(*(gated_layer(each, in_shape, activation) for each in layer.convolutions(in_shape)))
    return gated_layer(layer, in_shape, activation)


def build_vae(table: Table, shape: Shape, latent_units: int, likelihood: str, gating: Gating | None) -> SingleLatentVAE:
    """Return the VAE of a layer table for examples of `shape`; `gating` None builds the plain one."""
    features = final_shape(table.encoder, shape)
    encoder = GaussianEncoder(
        _stack(table.encoder, shape, gating.encoder if gating else None),
        gated_layer(head(latent_units), features, None),
        gated_layer(head(latent_units), features, None),
        log_sigma=table.log_sigma,
    )
    decoder = _stack(table.decoder, (latent_units,), gating.decoder if gating else None)
    return SingleLatentVAE(encoder, decoder, latent_units, LIKELIHOODS[likelihood], multi_rate=gating is not None)


def _stack(layers: Sequence[Layer], shape: Shape, activation: str | None) -> Stack:
    return Stack(build_layer(layer, given, activation) for layer, given in with_input_shapes(layers, shape))
