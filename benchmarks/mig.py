"""How long the mutual information gap of 737,280 posteriors takes, as many as dSprites has images, beside sampling.

    python -m benchmarks.mig

Synthetic posteriors of 10 units: five follow a factor each with posteriors of several widths, five are collapsed.
The estimator of Chen et al. (10,000 samples an entropy, each scored against all posteriors) is run for one unit and
one factor only; 10 units and four factors take it 25 times as long (half of a run is the unit's own entropy).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from evaluation.metrics.mig import mig, mig_histogram

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

SIZES = (3, 6, 40, 32, 32)
SHAPE, COLUMN = 0, 3
UNITS, UNIT = 10, 2
SAMPLES = 10_000
HISTOGRAM_EXAMPLES = 10_000


def run() -> None:
    """Print the CPU seconds and the values, and one information beside its estimate by sampling."""
    random = np.random.default_rng(0)
    factors = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1).reshape(-1, len(SIZES))
    means, log_variances = posteriors(factors, random)
    print(f"{len(factors):,} posteriors of {UNITS} units, {len(SIZES) - 1} factors (the shape excluded)")
    found, seconds = _timed(lambda: mig(means, log_variances, factors, excluded=(SHAPE,)))
    print(f"  {found.estimator}: {found.gap:.4f} in {seconds:.1f} s")
    few = random.choice(len(factors), HISTOGRAM_EXAMPLES, replace=False)
    binned, seconds_binned = _timed(lambda: mig_histogram(means[few], factors[few]))
    print(f"  {binned.estimator}, {len(few):,} examples, all factors: {binned.gap:.4f} in {seconds_binned:.2f} s")
    (information, error), seconds_sampled = _timed(
        lambda: sampled_information(means[:, UNIT], log_variances[:, UNIT], factors[:, COLUMN], random)
    )
    integrated = found.information_nats[UNIT, found.factors.index(COLUMN)]
    ratio = seconds_sampled / seconds
    print(
        f"  I(unit {UNIT}; factor {COLUMN}): {integrated:.4f} nats; by {SAMPLES:,} samples {information:.4f} "
        f"± {error:.4f} in {seconds_sampled:.1f} s, {ratio:.1f} times what all {UNITS * 4} integrals took"
    )


def _timed(function: Callable[[], Result]) -> tuple[Result, float]:
    # CPU time: what else the machine does counts less in it.
    started = time.process_time()
    return function(), time.process_time() - started


def posteriors(factors: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return means and log variances (N, UNITS), float32 as a model has them."""
    means = 0.02 * random.standard_normal((len(factors), UNITS), dtype=np.float32)
    log_variances = 0.01 * random.standard_normal((len(factors), UNITS), dtype=np.float32)
    for unit, factor in enumerate((1, 2, COLUMN, 4, SHAPE)):
        means[:, unit] += 3.4 * (factors[:, factor] / (SIZES[factor] - 1) - 0.5) + 0.1 * np.sin(factors[:, SHAPE])
        log_variances[:, unit] = 2 * np.log(0.05) + 0.5 * random.standard_normal(len(factors))
    return means, log_variances


def sampled_information(
    mean: np.ndarray, log_variance: np.ndarray, factor: np.ndarray, random: np.random.Generator
) -> tuple[float, float]:
    """Return I(z; v) and its standard error as Chen et al. estimate it, one unit (N,) and one factor (N,)."""
    groups = [np.flatnonzero(factor == value) for value in np.unique(factor)]
    entropy, error = sampled_entropy(mean, log_variance, random)
    conditional = [sampled_entropy(mean[rows], log_variance[rows], random) for rows in groups]
    squares = error**2 + sum(part**2 for _, part in conditional) / len(groups) ** 2
    return entropy - float(np.mean([value for value, _ in conditional])), float(np.sqrt(squares))


def sampled_entropy(mean: np.ndarray, log_variance: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Return the entropy of a mixture of Gaussians (N,) and its standard error."""
    rows = random.choice(len(mean), SAMPLES, replace=False)
    z = (mean[rows] + np.exp(log_variance[rows] / 2) * random.standard_normal(SAMPLES)).astype(np.float32)
    scale, precision = np.exp(-log_variance / 2), np.exp(-log_variance) / 2
    # One sample at a time: the 737,280 terms of its density stay in the processor's cache.
    surprises = -np.log([np.exp((point - mean) ** 2 * -precision) @ scale for point in z])
    surprises += np.log(len(mean)) + np.log(2 * np.pi) / 2
    return float(surprises.mean()), float(surprises.std() / np.sqrt(SAMPLES))


if __name__ == "__main__":
    run()
