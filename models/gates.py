"""Multi-rate gates: factors on pre-activations, each a function of log β only (MR-VAE, Eq. 6, 7 and 9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


def sqrt_relu(affine: Tensor) -> Tensor:
    """Return (ReLU(1 - exp(a)))^(1/2), in [0, 1) (Eq. 7, decoder).

    The gradient is finite for every a, at most 2048 in float32: by rounding, 1 - exp(a) is either 0, where the
    backward of ReLU masks the root's infinite slope, or at least 2^-24. With -expm1(a) it could be smaller.
    """
    # The clamp changes no value (the gate is 0 for a >= 0); an overflowing exp would give 0 * inf = NaN.
    return torch.sqrt(torch.relu(1 - torch.exp(affine.clamp(max=0))))


def double_sigmoid(affine: Tensor) -> Tensor:
    """Return 2 · sigmoid(a), in (0, 2), as in the authors' earlier code: its mean at initialisation is 1."""
    return 2 * torch.sigmoid(affine)


GATE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "double-sigmoid": double_sigmoid,
    "sqrt-relu": sqrt_relu,
}


class Gate(nn.Module):
    """Scales each feature by activation(w · s + b), where s is the example's standardised log β (Eq. 9)."""

    def __init__(self, features: int, activation: str) -> None:
        super().__init__()
        self.activation = GATE_ACTIVATIONS[activation]
        # A linear map from one input has fan-in 1, so PyTorch's default initialisation of it is U(-1, 1).
        self.weight = nn.Parameter(torch.empty(features).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(features).uniform_(-1, 1))

    def factor(self, condition: Tensor) -> Tensor:
        """Return the factors (B, F) for conditions (B, 1), in the parameters' precision."""
        return self.activation(torch.addcmul(self.bias, condition, self.weight))

    def forward(self, pre_activation: Tensor, condition: Tensor) -> Tensor:
        """Return pre-activations (B, F, ...) scaled for conditions (B, 1)."""
        return pre_activation * self.factor_for(pre_activation, condition)

    def factor_for(self, pre_activation: Tensor, condition: Tensor) -> Tensor:
        """Return the factors in the pre-activations' precision and shaped (B, F, 1, ...) to scale them."""
        factor = self.factor(condition).to(pre_activation.dtype)
        return factor.view(*factor.shape, *(1,) * (pre_activation.dim() - 2))


class GatedReLU(Gate):
    """ReLU of the gated pre-activations, in place."""

    def forward(self, pre_activation: Tensor, condition: Tensor) -> Tensor:
        """Return the rectified scaled pre-activations (B, F, ...) for conditions (B, 1)."""
        factor = self.factor_for(pre_activation, condition)
        rectified: Tensor = _RectifiedProduct.apply(pre_activation, factor)
        return rectified


class _RectifiedProduct(torch.autograd.Function):
    """ReLU(h * g), g >= 0, written over h; it keeps its output and g for the backward pass.

    The next layer keeps that output anyway, so a gated network stores no more activations than a plain one, whose
    ReLU is in place too. This matters for speed, because memory limits a step. Overwriting h is safe: no linear map or
    norm needs its output for its backward pass.
    """

    @staticmethod
    def forward(pre_activation: Tensor, factor: Tensor) -> Tensor:
        return pre_activation.mul_(factor).relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.mark_dirty(inputs[0])
        ctx.save_for_backward(output, inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        output, factor = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradients[0], output, 0)
        # Where the gradient passes, h = output / g. Where g is 0 it does not: the clamp makes 0 / 0 equal to 0.
        divisor = factor.clamp(min=torch.finfo(factor.dtype).tiny)
        for_factor = (passed * output).sum_to_size(factor.shape) / divisor
        return passed.mul_(factor), for_factor


def standardise_log_beta(beta: Tensor, low: float, high: float) -> Tensor:
    """Return log β, shifted and scaled so that log-uniform β in [low, high] become uniform on [-√3, √3].

    That has mean 0 and variance 1 (MR-VAE, Section 3.4, Normalizations). β outside the range extrapolate.
    """
    middle = (math.log(low) + math.log(high)) / 2
    half_width = (math.log(high) - math.log(low)) / 2
    return (torch.log(beta) - middle) * (math.sqrt(3) / half_width)


def sample_log_uniform_beta(
    count: int, low: float, high: float, generator: torch.Generator | None, device: torch.device | str
) -> Tensor:
    """Return `count` independent β (count, 1) with log β ~ U(log low, log high) (Eq. 11).

    The generator, if any, must be on `device`.
    """
    uniform = torch.rand(count, 1, generator=generator, device=device)
    return torch.exp(math.log(low) + uniform * (math.log(high) - math.log(low)))
