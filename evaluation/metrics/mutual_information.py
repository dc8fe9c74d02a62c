from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import to_finite, to_log_variances

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values

CHUNK = 256


@dataclass(frozen=True)
class MutualInformation:
    """I(x; z) over a number of examples, and ln(examples), the upper bound of such an estimate."""

    nats: float
    cap_nats: float
    examples: int


def mutual_information(means: Values, log_variances: Values, samples: Values) -> MutualInformation:
    """Return I(x; z) of diagonal Gaussian posteriors, by their aggregate (Hoffman and Johnson 2016; He et al. 2019).

    All three are (N, K); row i of `samples` is drawn from posterior i. The estimate is the mean over i of
    log q(z_i | x_i) - log (1/N) Σ_j q(z_i | x_j): every sample is scored against every posterior. It is biased
    downwards as it nears its cap, ln N; take 2,000 examples or more. Memory is that of a few times 256 × N numbers.
    Precision is lost where a posterior is narrower than a millionth of the spread of the means.

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    centres = to_finite(means, "the posterior means")
    log_widths = to_log_variances(log_variances)
    drawn = to_finite(samples, "the posterior samples")
    if not centres.shape == log_widths.shape == drawn.shape:
        shapes = f"{centres.shape}, {log_widths.shape} and {drawn.shape}"
        raise ValueError(f"means, log variances and samples have the shapes {shapes}; they must have one")
    # Squares are multiplied out below; a common offset, which changes no density, would cost them their precision.
    offset = centres.mean(axis=0)
    information = [
        _log_density_ratios(drawn[start : start + CHUNK] - offset, centres - offset, log_widths, start)
        for start in range(0, len(drawn), CHUNK)
    ]
    return MutualInformation(float(np.concatenate(information).mean()), math.log(len(drawn)), len(drawn))


def _log_density_ratios(samples: Float64, means: Float64, log_variances: Float64, first: int) -> Float64:
    """Return log q(z | x) - log q(z) for samples (B, K), whose own posteriors are those from row `first` on."""
    precisions = np.exp(-log_variances)
    constants = -0.5 * (means**2 * precisions + log_variances).sum(axis=1)
    # (B, N), without ½ K log 2π, which the ratio does not have.
    log_densities = samples @ (means * precisions).T - 0.5 * samples**2 @ precisions.T + constants
    highest = log_densities.max(axis=1)
    aggregate = highest + np.log(np.exp(log_densities - highest[:, None]).mean(axis=1))
    own = log_densities[np.arange(len(samples)), first + np.arange(len(samples))]
    ratios: Float64 = own - aggregate
    return ratios
