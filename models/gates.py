"""Multi-rate gates: factors on pre-activations, each a function of log β alone (MR-VAE, Eq. 6, 7 and 9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


def sqrt_relu(affine: Tensor) -> Tensor:
    """Return (ReLU(1 - exp(a)))^(1/2), in [0, 1) (Eq. 7, decoder).

    The gradient is finite for every a, at most 2048 in float32: rounding keeps 1 - exp(a) either at 0, where the
    backward of ReLU masks the root's infinite slope, or at 2^-24 and more (so no expm1, which undoes that).
    """
    # The clamp changes no value (the gate is 0 for every a >= 0); without it exp overflows and 0 * inf is NaN.
    return torch.sqrt(torch.relu(1 - torch.exp(affine.clamp(max=0))))


GATE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "sqrt-relu": sqrt_relu}


class Gate(nn.Module):
    """Scales each feature by activation(w · s + b), where s is the standardised log β of the example (Eq. 9)."""

    def __init__(self, features: int, activation: str) -> None:
        super().__init__()
        self.activation = GATE_ACTIVATIONS[activation]
        # A linear map from one input has fan-in 1, so PyTorch's default initialisation of it is U(-1, 1).
        self.weight = nn.Parameter(torch.empty(features).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(features).uniform_(-1, 1))

    def factor(self, condition: Tensor) -> Tensor:
        """Return the factors (B, F) for conditions (B, 1), in the parameters' precision under autocast too."""
        return self.activation(torch.addcmul(self.bias, condition, self.weight))

    def forward(self, pre_activation: Tensor, condition: Tensor) -> Tensor:
        """Return pre-activations (B, F, ...) scaled for conditions (B, 1)."""
        factor = self.factor(condition).to(pre_activation.dtype)
        return pre_activation * factor.view(*factor.shape, *(1,) * (pre_activation.dim() - 2))


def standardise_log_beta(beta: Tensor, low: float, high: float) -> Tensor:
    """Return log β, shifted and scaled so that log-uniform β in [low, high] become uniform on [-√3, √3].

    That has mean 0 and variance 1 (MR-VAE, Section 3.4, Normalizations). β outside the range are extrapolated.
    """
    middle = (math.log(low) + math.log(high)) / 2
    half_width = (math.log(high) - math.log(low)) / 2
    return (torch.log(beta) - middle) * (math.sqrt(3) / half_width)


def sample_log_uniform_beta(
    count: int, low: float, high: float, generator: torch.Generator | None, device: torch.device | str
) -> Tensor:
    """Return `count` β (count, 1) with log β ~ U(log low, log high), each drawn on its own (Eq. 11).

    The generator, where there is one, must live on `device`.
    """
    uniform = torch.rand(count, 1, generator=generator, device=device)
    return torch.exp(math.log(low) + uniform * (math.log(high) - math.log(low)))
