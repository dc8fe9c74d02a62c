"""The network of the two-layer linear VAE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.gates import Gate, sqrt_relu
from models.likelihoods import SquaredError, at_least_float32
from models.vae import ModelOutput, SingleLatentVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.architecture import Gating
    from models.shapes import Shape


START_VARIANCE = math.exp(-2)
"""Initial variance of each latent unit in a plain model, and of its base in a multi-rate one."""
OPEN = 4.0
"""Initial distance of a gate's argument from the point where the gate starts to close, in the middle of the β range."""


class LinearSquaredError(SquaredError):
    """The sum of squared errors around the decoder's output without a sigmoid, so means may be outside [0, 1]."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the decoder's output."""
        return at_least_float32(logits)


def logarithm_of_complement(affine: Tensor) -> Tensor:
    """Return log(1 - g²) = min(a, 0), the variance's counterpart of a map's gate g = √ReLU(1 - exp(a))."""
    return affine.clamp(max=0)


def logarithm_of_double_sigmoid(affine: Tensor) -> Tensor:
    """Return log(2 · sigmoid(a))."""
    return functional.logsigmoid(affine) + math.log(2)


LOG_VARIANCE_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": functional.logsigmoid,
    "double-sigmoid": logarithm_of_double_sigmoid,
    "sqrt-relu": logarithm_of_complement,
}


class LogVarianceGate(Gate):
    """The logarithm of a variance's gate: Eq. 7's sigmoid, or the complement of the encoder's √ReLU."""

    def __init__(self, features: int, activation: str) -> None:
        super().__init__(features, activation)
        self.activation = LOG_VARIANCE_GATES[activation]


class VarianceFactor(nn.Module):
    """The logarithm of one diagonal factor of C (Eq. 10): a base, and a gate in the multi-rate network."""

    def __init__(self, units: int, activation: str | None) -> None:
        super().__init__()
        self.log_base = nn.Parameter(torch.zeros(units))
        self.gate = LogVarianceGate(units, activation) if activation else None

    def forward(self, condition: Tensor | None) -> Tensor:
        """Return the logarithms, (B, units) for conditions (B, 1), (units,) without."""
        if self.gate is None or condition is None:
            return self.log_base
        return self.log_base + self.gate.factor(condition)


class GatedMatrix(nn.Linear):
    """A matrix, with a gate on each row in the multi-rate network. It has no bias: Eq. 10 only has μ."""

    def __init__(self, inputs: int, outputs: int, activation: str | None) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.gate = Gate(outputs, activation) if activation else None

    def product(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the gated matrix times each feature vector, (B, outputs)."""
        product: Tensor = self(features)
        if self.gate is not None:
            product = self.gate(product, condition)
        return product


class TwoMatrices(nn.Module):
    """The product of two matrices, second · first."""

    def __init__(self, inputs: int, hidden: int, outputs: int, activation: str | None) -> None:
        super().__init__()
        self.first = GatedMatrix(inputs, hidden, activation)
        self.second = GatedMatrix(hidden, outputs, activation)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return the product times each feature vector, (B, outputs)."""
        return self.second.product(self.first.product(features, condition), condition)


class LinearEncoder(nn.Module):
    """q(z|x) = N(E2 E1 x, C2 C1), for centred x (B, D)."""

    def __init__(self, layers: TwoMatrices, first: VarianceFactor, second: VarianceFactor) -> None:
        super().__init__()
        self.layers = layers
        self.first_variance = first
        self.second_variance = second

    def log_variance(self, condition: Tensor | None) -> Tensor:
        """Return log C, (B, units) for conditions (B, 1), (units,) without."""
        log_variance: Tensor = self.first_variance(condition) + self.second_variance(condition)
        return log_variance

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (B, units)."""
        mean: Tensor = self.layers(x, condition)
        return mean, self.log_variance(condition).expand_as(mean)


class LinearMaps(NamedTuple):
    """The matrices of a linear VAE at one β: encoder E (K, D), decoder D (D, K), the diagonal of C (K,)."""

    encoder: Tensor
    decoder: Tensor
    variances: Tensor


class LinearVAE(SingleLatentVAE):
    """p(x|z) = N(D2 D1 z + μ, I/2), q(z|x) = N(E2 E1 (x - μ), C2 C1) (MR-VAE, Eq. 10), on flattened examples.

    μ is learned. At any β the loss is strictly convex in it around the mean of the data, so that is its optimum.
    """

    encoder: LinearEncoder
    decoder: TwoMatrices

    def __init__(self, encoder: LinearEncoder, decoder: TwoMatrices, shape: Shape, *, multi_rate: bool) -> None:
        super().__init__(encoder, decoder, decoder.first.in_features, LinearSquaredError(), multi_rate)
        self.shape = shape
        self.mean = nn.Parameter(torch.zeros(math.prod(shape)))

    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> ModelOutput:
        """Return the output for x; see `VAE.forward`. The reconstruction is linear, so it may be outside [0, 1]."""
        # The error of Dz + μ about x is that of Dz about x - μ.
        output = super().forward(x.flatten(1) - self.mean, condition, noise)
        if output.reconstruction is None:
            return output
        return output._replace(reconstruction=self._uncentred(output.reconstruction))

    def generate(self, noise: Sequence[Tensor], condition: Tensor | None) -> Tensor:
        """Return the means for latents drawn from the prior; see `VAE.generate`. They may be outside [0, 1]."""
        return self._uncentred(super().generate(noise, condition))

    @torch.no_grad()
    def maps(self, condition: Tensor | None) -> LinearMaps:
        """Return the matrices for one condition (1, 1), None in a plain model."""
        self.check_condition(condition)
        (units,) = self.latent_shapes[0]
        encoder = self._transposed(self.encoder.layers, len(self.mean), condition).T
        decoder = self._transposed(self.decoder, units, condition).T
        return LinearMaps(encoder, decoder, self.encoder.log_variance(condition).exp().view(units))

    def _uncentred(self, centred: Tensor) -> Tensor:
        return (centred + self.mean).view(-1, *self.shape)

    def _transposed(self, layers: TwoMatrices, inputs: int, condition: Tensor | None) -> Tensor:
        identity = torch.eye(inputs, dtype=self.mean.dtype, device=self.mean.device)
        columns: Tensor = layers(identity, None if condition is None else condition.expand(inputs, 1))
        return columns


def build_linear_vae(shape: Shape, latent_units: int, gating: Gating | None, *, exact: bool) -> LinearVAE:
    """Return the linear VAE for examples of `shape`; `exact` replaces the encoder's gates, see `Linear`."""
    values = math.prod(shape)
    encoder_gate, decoder_gate = (gating.encoder, gating.decoder) if gating else (None, None)
    if gating and exact:
        encoder_gate = "sqrt-relu"
    encoder = LinearEncoder(
        TwoMatrices(values, values, latent_units, encoder_gate),
        VarianceFactor(latent_units, encoder_gate),
        VarianceFactor(latent_units, encoder_gate),
    )
    decoder = TwoMatrices(latent_units, latent_units, values, decoder_gate)
    _start_with_every_unit_active(encoder, decoder)
    return LinearVAE(encoder, decoder, shape, multi_rate=gating is not None)


@torch.no_grad()
def _start_with_every_unit_active(encoder: LinearEncoder, decoder: TwoMatrices) -> None:
    """Initialise to a random orthogonal projection with little noise and all gates open.

    A collapsed unit (E and D about 0, C about 1) is at a saddle point. With PyTorch's default initialisation units
    reach it and stay there for most of the training; with this one most do not.
    """
    nn.init.eye_(encoder.layers.first.weight)
    nn.init.orthogonal_(encoder.layers.second.weight)
    nn.init.eye_(decoder.first.weight)
    decoder.second.weight.copy_(encoder.layers.second.weight.T)
    _open(encoder.layers.first.gate, slope=0)
    _open(encoder.layers.second.gate, slope=1)  # one gate per unit, which closes with growing β
    _open(decoder.first.gate, slope=1)
    _open(decoder.second.gate, slope=0)
    for factor in (encoder.first_variance, encoder.second_variance):
        factor.log_base.fill_(math.log(START_VARIANCE) / 2)
        if factor.gate is not None:  # both together increase as the encoder's gate decreases
            factor.gate.weight.fill_(0.5)
            factor.gate.bias.fill_(-OPEN / 2)


def _open(gate: Gate | None, slope: float) -> None:
    if gate is not None:
        towards_closing = 1.0 if gate.activation is sqrt_relu else -1.0
        gate.weight.fill_(towards_closing * slope)
        gate.bias.fill_(-towards_closing * OPEN)
