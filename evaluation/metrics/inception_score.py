from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, xlogy

from evaluation.metrics.codes import to_finite

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values
    from evaluation.metrics.codes import Int64


@dataclass(frozen=True)
class InceptionScore:
    """exp(mean KL(p(y|x) ‖ p(y))) as the mean over splits, between 1 and the number of classes.

    `std` is the standard deviation between the splits, None where there is one.
    """

    value: float
    std: float | None
    splits: int
    examples: int
    classes: int


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """Running sums over images of what a classifier says of them, from which its Inception Score follows.

    Accumulators are values: `update` and `merge` return a new one. Images go to the S splits in turn. State, float64:
    the number of images in each split (S,), and the sums of p(y|x) (S, K) and of Σ_y p(y|x) log p(y|x) (S,) over them.
    """

    counts: Int64
    probabilities: Float64 = field(default_factory=lambda: np.zeros((0, 0)))
    negative_entropies: Float64 = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls, splits: int = 10) -> ClassPredictions:
        """Return the accumulator of no images; merging it changes nothing. Raises ValueError below 1 split."""
        if splits < 1:
            raise ValueError(f"splits is {splits}; it must be 1 or more")
        return cls(np.zeros(splits, dtype=np.int64))

    @property
    def examples(self) -> int:
        """The number of images."""
        return int(self.counts.sum())

    def update(self, logits: Values) -> ClassPredictions:
        """Return the accumulator with the logits (B, K) of a batch added.

        Raises:
            ValueError: a logit is infinite or not a number, or there are other than K of them.
        """
        if len(logits) == 0:
            return self
        log_probabilities = log_softmax(to_finite(logits, "the batch of logits"), axis=1)
        probabilities = np.exp(log_probabilities)
        splits = np.arange(len(self.counts))
        member = (self.examples + np.arange(len(probabilities))) % len(splits) == splits[:, None]
        negative_entropies = (probabilities * log_probabilities).sum(axis=1)
        batch = ClassPredictions(member.sum(axis=1), member @ probabilities, member @ negative_entropies)
        return self.merge(batch)

    def merge(self, other: ClassPredictions) -> ClassPredictions:
        """Return the accumulator of both sets of images. Raises ValueError where their splits or classes differ."""
        if len(self.counts) != len(other.counts):
            raise ValueError(f"{len(self.counts)} and {len(other.counts)} splits cannot be merged")
        if self.examples == 0 or other.examples == 0:
            return other if self.examples == 0 else self
        if self.probabilities.shape != other.probabilities.shape:
            classes = f"{self.probabilities.shape[1]} and {other.probabilities.shape[1]}"
            raise ValueError(f"predictions of {classes} classes cannot be merged; use one classifier for all")
        return ClassPredictions(
            self.counts + other.counts,
            self.probabilities + other.probabilities,
            self.negative_entropies + other.negative_entropies,
        )

    def score(self) -> InceptionScore:
        """Return the score (Salimans et al. 2016, section 4). Raises ValueError where a split has no image."""
        if (self.counts == 0).any():
            raise ValueError(
                f"{self.examples} images do not fill {len(self.counts)} splits; take more images or fewer splits"
            )
        marginals = self.probabilities / self.counts[:, None]
        scores = np.exp(self.negative_entropies / self.counts - xlogy(marginals, marginals).sum(axis=1))
        std = float(scores.std()) if len(scores) > 1 else None
        return InceptionScore(float(scores.mean()), std, len(scores), self.examples, marginals.shape[1])
