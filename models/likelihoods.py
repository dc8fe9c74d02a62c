"""The families of p(x|z): each computes a distortion and a mean image from a decoder's logits.

Both compute in float32 or more, for logits of any precision, because a sum over pixels is too inexact in bfloat16.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor, in float32 where its precision is lower, as under autocast."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class Likelihood(ABC):
    """A family of p(x|z), given the decoder's logits (B, C, H, W) for data x (B, C, H, W) in [0, 1]."""

    unit: ClassVar[str]

    @abstractmethod
    def distortion(self, logits: Tensor, x: Tensor) -> Tensor:
        """Return the distortion (B,) of each example, summed over C, H and W, in `unit`."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the mean image (B, C, H, W) in [0, 1]."""
        return torch.sigmoid(at_least_float32(logits))


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels: the distortion is the negative log-likelihood in nats.

    It is computed from the logits, so it is exact where a probability would round to 0 or 1.
    """

    unit = "nats"

    def distortion(self, logits: Tensor, x: Tensor) -> Tensor:
        """Return the binary cross-entropy (B,) of each example in nats, summed over C, H and W."""
        logits = at_least_float32(logits)
        each = functional.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none")
        return each.flatten(1).sum(1)


class SquaredError(Likelihood):
    """The plain sum of squared errors: a Gaussian of variance 1/2 around the mean, without its constant."""

    unit = "sse"

    def distortion(self, logits: Tensor, x: Tensor) -> Tensor:
        """Return the sum of squared errors (B,) of each example over C, H and W."""
        mean = self.mean(logits)
        return (mean - x.to(mean.dtype)).square().flatten(1).sum(1)


LIKELIHOODS: dict[str, Likelihood] = {"bernoulli": Bernoulli(), "squared-error": SquaredError()}
