from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.arrays import to_float64

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values


@dataclass(frozen=True, eq=False)
class ActiveUnits:
    """Running variance over the data of the posterior means, from which active units are counted.

    A latent unit is active if Var_x(E_q(z|x)[z]) exceeds δ (Burda et al. 2016, section 5.2, δ = 0.01).
    Accumulators are values: `update` and `merge` return a new one. State: the number of examples, their mean
    and their summed squared deviations from it, both (d,) float64 (Chan, Golub and LeVeque 1979).
    """

    examples: int = 0
    mean: Float64 = field(default_factory=lambda: np.zeros(0))
    squared_deviations: Float64 = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls) -> ActiveUnits:
        """Return the accumulator of no examples; merging it changes nothing."""
        return cls()

    def update(self, means: Values) -> ActiveUnits:
        """Return the accumulator with a batch of posterior means (B, d) added."""
        batch = to_float64(means, "the batch of posterior means", 2)
        if len(batch) == 0:
            return self
        mean = batch.mean(axis=0)
        return self.merge(ActiveUnits(len(batch), mean, ((batch - mean) ** 2).sum(axis=0)))

    def merge(self, other: ActiveUnits) -> ActiveUnits:
        """Return the accumulator of both sets of examples. Raises ValueError where their d differ."""
        if self.examples == 0 or other.examples == 0:
            return other if self.examples == 0 else self
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"posterior means of {self.mean.size} and {other.mean.size} units cannot be merged")
        examples = self.examples + other.examples
        shift = other.mean - self.mean
        between = shift**2 * (self.examples * other.examples / examples)
        return ActiveUnits(
            examples,
            self.mean + shift * (other.examples / examples),
            self.squared_deviations + other.squared_deviations + between,
        )

    def variances(self) -> Float64:
        """Return the unbiased variance of each posterior mean, (d,). Raises ValueError below 2 examples."""
        if self.examples < 2:  # noqa: PLR2004 (a variance needs two)
            raise ValueError(f"the variance of posterior means needs 2 examples; there are {self.examples}")
        return self.squared_deviations / (self.examples - 1)

    def active_units(self, delta: float) -> int:
        """Return how many units have a variance above `delta`."""
        return int(np.count_nonzero(self.variances() > delta))
