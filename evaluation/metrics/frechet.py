from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import to_finite

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Running mean and covariance of the feature vectors of images, in memory that does not grow with their number.

    Accumulators are values: `update` and `merge` return a new one. State: the number of examples, their mean (D,) and
    their scatter Σ (x - mean)(x - mean)ᵀ (D, D), both float64. It is Σx and Σxxᵀ without the precision that those
    lose where a mean is far from 0 (Chan, Golub and LeVeque 1979).
    """

    examples: int = 0
    mean: Float64 = field(default_factory=lambda: np.zeros(0))
    scatter: Float64 = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def empty(cls) -> FeatureMoments:
        """Return the accumulator of no examples; merging it changes nothing."""
        return cls()

    def update(self, features: Values) -> FeatureMoments:
        """Return the accumulator with a batch of features (B, D) added; some hundred rows at once are fastest.

        Raises:
            ValueError: a feature is infinite or not a number, or there are other than D of them.
        """
        if len(features) == 0:
            return self
        batch = to_finite(features, "the batch of features")
        mean = batch.mean(axis=0)
        deviations = batch - mean
        if self.examples == 0:
            return FeatureMoments(len(batch), mean, deviations.T @ deviations)
        shift, weight = self._shift_to(mean, len(batch))
        # What the shift of the mean adds is one more row, so that the (D, D) matrices are gone through only once.
        rows = np.concatenate([deviations, np.sqrt(weight) * shift[None]])
        scatter = rows.T @ rows
        scatter += self.scatter
        examples = self.examples + len(batch)
        return FeatureMoments(examples, self.mean + shift * (len(batch) / examples), scatter)

    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """Return the accumulator of both sets of examples. Raises ValueError where their D differ."""
        if self.examples == 0 or other.examples == 0:
            return other if self.examples == 0 else self
        shift, weight = self._shift_to(other.mean, other.examples)
        examples = self.examples + other.examples
        return FeatureMoments(
            examples,
            self.mean + shift * (other.examples / examples),
            self.scatter + other.scatter + weight * np.outer(shift, shift),
        )

    @property
    def covariance(self) -> Float64:
        """The unbiased covariance (D, D). Raises ValueError below 2 examples."""
        if self.examples < 2:  # noqa: PLR2004 (a covariance needs two)
            raise ValueError(f"the covariance of features needs 2 examples; there are {self.examples}")
        return self.scatter / (self.examples - 1)

    @cached_property
    def root(self) -> Float64:
        """A matrix L (D, r) with L Lᵀ the covariance, of rank r, kept for the next use: it takes seconds."""
        values, vectors = np.linalg.eigh(self.covariance)
        # What is below this is rounding, and its square root would not be small.
        kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
        return vectors[:, kept] * np.sqrt(values[kept])

    def _shift_to(self, mean: Float64, examples: int) -> tuple[Float64, float]:
        if self.mean.shape != mean.shape:
            raise ValueError(f"{self.mean.size} and {mean.size} features cannot be compared; use one extractor for all")
        return mean - self.mean, self.examples * examples / (self.examples + examples)


@dataclass(frozen=True)
class FrechetDistance:
    """A squared Fréchet distance, and the numbers of examples and features it was estimated from."""

    value: float
    examples: int
    reference_examples: int
    features: int

    @property
    def warning(self) -> str:
        """What is wrong with the numbers of examples, empty where nothing is.

        The estimate is biased upwards, the more so the fewer examples there are. A covariance of no more examples
        than features is singular besides.
        """
        fewest = min(self.examples, self.reference_examples)
        if fewest > self.features:
            return ""
        return (
            f"{fewest:,} examples are too few for {self.features:,} features: their covariance is singular and the "
            f"Fréchet distance far too large; take more than {self.features:,}"
        )


def frechet_distance(generated: FeatureMoments, reference: FeatureMoments) -> FrechetDistance:
    """Return |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½), as between two Gaussians (Dowson and Landau 1982).

    On Inception features this is the FID (Heusel et al. 2017, Eq. 6). The last term is the sum of the square roots of
    the eigenvalues of Lᵀ Σ₁ L, L Lᵀ = Σ₂: those of Σ₂^½ Σ₁ Σ₂^½, which is symmetric, so that they are real.

    Raises:
        ValueError: the numbers of features differ, or a set has fewer than 2 examples.
    """
    shift, _ = reference._shift_to(generated.mean, generated.examples)  # noqa: SLF001 (the same check)
    covariance = generated.covariance
    # Negative eigenvalues are zeros that were rounded.
    eigenvalues = np.linalg.eigvalsh(reference.root.T @ covariance @ reference.root).clip(min=0)
    traces = np.trace(covariance) + np.trace(reference.covariance)
    value = shift @ shift + traces - 2 * np.sqrt(eigenvalues).sum()
    # So is a negative distance, of sets that are the same.
    return FrechetDistance(max(float(value), 0.0), generated.examples, reference.examples, generated.mean.size)
