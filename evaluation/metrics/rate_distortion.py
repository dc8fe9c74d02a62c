from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.arrays import to_float64

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values


@dataclass(frozen=True, eq=False)
class RateDistortion:
    """Running means over examples of the distortion and of the rate of every latent layer.

    Accumulators are values: `update` and `merge` return a new one. State: the number of examples and float64
    sums, of distortion and (L,) of rates in nats. The means raise ValueError while there are no examples.
    """

    examples: int = 0
    distortion_sum: float = 0.0
    rates_sum_nats: Float64 = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls) -> RateDistortion:
        """Return the accumulator of no examples; merging it changes nothing."""
        return cls()

    def update(self, distortion: Values, rates_nats: Values) -> RateDistortion:
        """Return the accumulator with a batch added: distortion (B,), rates (B, L) in nats."""
        distortions = to_float64(distortion, "the batch of distortions", 1)
        rates = to_float64(rates_nats, "the batch of rates", 2)
        if len(distortions) != len(rates):
            raise ValueError(f"{len(distortions)} distortions and {len(rates)} rates are not one batch")
        return self.merge(RateDistortion(len(rates), float(distortions.sum()), rates.sum(axis=0)))

    def merge(self, other: RateDistortion) -> RateDistortion:
        """Return the accumulator of both sets of examples. Raises ValueError where their L differ."""
        if self.examples == 0 or other.examples == 0:
            return other if self.examples == 0 else self
        if self.rates_sum_nats.shape != other.rates_sum_nats.shape:
            layers = f"{self.rates_sum_nats.size} and {other.rates_sum_nats.size}"
            raise ValueError(f"rates of {layers} latent layers cannot be merged")
        return RateDistortion(
            self.examples + other.examples,
            self.distortion_sum + other.distortion_sum,
            self.rates_sum_nats + other.rates_sum_nats,
        )

    @property
    def distortion(self) -> float:
        """Mean distortion per example."""
        return self.distortion_sum / self._counted()

    @property
    def rates_nats(self) -> tuple[float, ...]:
        """Mean rate of every latent layer, in nats per example."""
        return tuple((self.rates_sum_nats / self._counted()).tolist())

    @property
    def rate_nats(self) -> float:
        """Mean rate, summed over the latent layers, in nats per example."""
        return float(self.rates_sum_nats.sum()) / self._counted()

    @property
    def elbo(self) -> float:
        """Evidence lower bound at β = 1: -(distortion + rate)."""
        return -(self.distortion + self.rate_nats)

    def _counted(self) -> int:
        if self.examples == 0:
            raise ValueError("no examples were evaluated; rate and distortion have no mean")
        return self.examples
