"""Turns a layer table into modules."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.gates import Gate
from models.likelihoods import LIKELIHOODS
from models.tables import (
    Convolution,
    Dense,
    ResidualBlock,
    TransposedConvolution,
    final_shape,
    head,
    with_input_shapes,
)
from models.vae import SingleLatentVAE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.architecture import Gating, Shape
    from models.tables import Layer, Table


class GatedLayer(nn.Module):
    """A linear map, then its norm, gate and ReLU, as far as it has them."""

    def __init__(self, linear: nn.Module, norm: nn.Module | None, gate: Gate | None, relu: bool) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm
        self.gate = gate
        self.relu = relu

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the layer's output (B, F, ...)."""
        features = self.linear(features)
        if self.norm is not None:
            features = self.norm(features)
        if self.gate is not None:
            features = self.gate(features, condition)
        # In place: no operation before it needs its output for the backward pass.
        return functional.relu(features, inplace=True) if self.relu else features


class Residual(nn.Module):
    """ReLU(x + second(first(x))), the gates being inside the two layers."""

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
    """A linear map of everything but the batch, reshaped to `out_shape`."""

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(math.prod(in_shape), math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, *out_shape)."""
        return super().forward(features.flatten(1)).unflatten(1, self.out_shape)


class GaussianEncoder(nn.Module):
    """Layers, then two linear heads: the mean and the log variance of q(z|x)."""

    def __init__(self, layers: Stack, mean: GatedLayer, log_variance: GatedLayer) -> None:
        super().__init__()
        self.layers = layers
        self.mean = mean
        self.log_variance = log_variance

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (B, latent units)."""
        features = self.layers(x, condition)
        return self.mean(features, condition), self.log_variance(features, condition)


@singledispatch
def build_layer(layer: Layer, in_shape: Shape, activation: str | None) -> nn.Module:
    """Return the module of a layer; `activation` is that of its gates, None for a plain network."""
    raise TypeError(f"no module is known for {layer!r} on {in_shape} with gates {activation!r}")


@build_layer.register(Dense)
def _(layer: Dense, in_shape: Shape, activation: str | None) -> nn.Module:
    gate = _gate(layer, math.prod(layer.out_shape), activation)
    return GatedLayer(Flat(in_shape, layer.out_shape), None, gate, layer.relu)


@build_layer.register(Convolution)
def _(layer: Convolution, in_shape: Shape, activation: str | None) -> nn.Module:
    linear = nn.Conv2d(in_shape[0], layer.out_channels, layer.kernel, layer.stride, layer.padding)
    return _convolutional(layer, linear, activation)


@build_layer.register(TransposedConvolution)
def _(layer: TransposedConvolution, in_shape: Shape, activation: str | None) -> nn.Module:
    linear = nn.ConvTranspose2d(
        in_shape[0], layer.out_channels, layer.kernel, layer.stride, layer.padding, layer.output_padding
    )
    return _convolutional(layer, linear, activation)


@build_layer.register(ResidualBlock)
def _(layer: ResidualBlock, in_shape: Shape, activation: str | None) -> nn.Module:
    first, second = layer.convolutions(in_shape)
    return Residual(build_layer(first, in_shape, activation), build_layer(second, in_shape, activation))


def build_vae(table: Table, shape: Shape, latent_units: int, likelihood: str, gating: Gating | None) -> SingleLatentVAE:
    """Return the VAE of a layer table for examples of `shape`; `gating` None builds the plain one."""
    features = final_shape(table.encoder, shape)
    encoder = GaussianEncoder(
        _stack(table.encoder, shape, gating and gating.encoder),
        build_layer(head(latent_units), features, None),
        build_layer(head(latent_units), features, None),
    )
    decoder = _stack(table.decoder, (latent_units,), gating and gating.decoder)
    return SingleLatentVAE(encoder, decoder, latent_units, LIKELIHOODS[likelihood], multi_rate=gating is not None)


def _stack(layers: Sequence[Layer], shape: Shape, activation: str | None) -> Stack:
    return Stack(build_layer(layer, given, activation) for layer, given in with_input_shapes(layers, shape))


def _convolutional(
    layer: Convolution | TransposedConvolution, linear: nn.Module, activation: str | None
) -> GatedLayer:
    norm = nn.BatchNorm2d(layer.out_channels) if layer.norm else None
    return GatedLayer(linear, norm, _gate(layer, layer.out_channels, activation), layer.relu)


def _gate(layer: Dense | Convolution | TransposedConvolution, features: int, activation: str | None) -> Gate | None:
    return Gate(features, activation) if layer.gated and activation is not None else None
