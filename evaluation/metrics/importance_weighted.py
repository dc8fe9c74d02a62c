from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.arrays import to_float64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evaluation.metrics.arrays import Float64, Values


@dataclass(frozen=True, eq=False)
class ImportanceWeights:
    """Running sum of the importance weights p(x, z) / q(z|x) of a batch of examples, in logarithms.

    Accumulators are values: `update` and `merge` return a new one. State: the number of samples an example, and the
    logarithm of the sum of their weights, (B,) float64.
    """

    samples: int = 0
    log_sums: Float64 = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls) -> ImportanceWeights:
        """Return the accumulator of no samples; merging it changes nothing."""
        return cls()

    def update(self, log_weights: Values) -> ImportanceWeights:
        """Return the accumulator with log p(x|z) + log p(z) - log q(z|x) of more samples added, (K, B)."""
        weights = to_float64(log_weights, "the batch of log weights", 2)
        if len(weights) == 0:
            return self
        # A weight that is not a number reaches the result, which says more than a warning.
        with np.errstate(invalid="ignore"):
            return self.merge(ImportanceWeights(len(weights), np.logaddexp.reduce(weights, axis=0)))

    def merge(self, other: ImportanceWeights) -> ImportanceWeights:
        """Return the accumulator of both sets of samples. Raises ValueError where they are of other examples."""
        if self.samples == 0 or other.samples == 0:
            return other if self.samples == 0 else self
        if self.log_sums.shape != other.log_sums.shape:
            raise ValueError(f"log weights of {self.log_sums.size} and {other.log_sums.size} examples cannot be merged")
        return ImportanceWeights(self.samples + other.samples, np.logaddexp(self.log_sums, other.log_sums))

    def log_likelihoods(self) -> Float64:
        """Return the bound on log p(x) of each example, (B,). Raises ValueError while there are no samples."""
        if self.samples == 0:
            raise ValueError("no samples were drawn; their importance weights have no mean")
        return self.log_sums - math.log(self.samples)


@dataclass(frozen=True)
class ImportanceWeightedNLL:
    """A bound on -log p(x) in nats per example; the more samples an example has, the closer it is."""

    nats: float
    samples: int
    examples: int


def importance_weighted_nll(batches: Iterable[ImportanceWeights]) -> ImportanceWeightedNLL:
    """Return -mean_b [log Σ_k w_kb - log K], the importance-weighted bound (Burda et al. 2016, Eq. 8), over batches.

    In expectation it is above -log p(x), never rises with K, and is the negative ELBO at K = 1.

    Raises:
        ValueError: there are no batches, or their numbers of samples differ: bounds of two K do not average.
    """
    gathered = tuple(batches)
    counts = sorted({batch.samples for batch in gathered})
    if len(counts) != 1:
        raise ValueError(f"the batches have {counts or 'no'} samples an example; draw one number, 1 or more, for all")
    log_likelihoods = np.concatenate([batch.log_likelihoods() for batch in gathered])
    return ImportanceWeightedNLL(-float(log_likelihoods.mean()), counts[0], len(log_likelihoods))
