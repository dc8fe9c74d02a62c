from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.arrays import to_float64

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Values


@dataclass(frozen=True)
class PeakSignalToNoiseRatio:
    """Running mean over images of the peak signal-to-noise ratio in dB, for images in [0, 1].

    One image has -10 log10(its mean squared error); an image without error has an infinite ratio, and so has
    then the mean. Accumulators are values: `update` and `merge` return a new one.
    """

    images: int = 0
    sum_db: float = 0.0

    @classmethod
    def empty(cls) -> PeakSignalToNoiseRatio:
        """Return the accumulator of no images; merging it changes nothing."""
        return cls()

    def update(self, originals: Values, reconstructions: Values) -> PeakSignalToNoiseRatio:
        """Return the accumulator with a batch added: both (B, …), of one shape.

        Raises:
            ValueError: the shapes differ, or the originals leave [0, 1].
        """
        if originals.shape != reconstructions.shape:
            shapes = f"{tuple(originals.shape)} and {tuple(reconstructions.shape)}"
            raise ValueError(f"originals and reconstructions have the shapes {shapes}; they must have one")
        if len(originals) == 0:
            return self
        truth = to_float64(originals.reshape(len(originals), -1), "the batch of images", 2)
        if truth.min() < 0 or truth.max() > 1:
            raise ValueError(f"images range from {truth.min():g} to {truth.max():g}; PSNR is defined here on [0, 1]")
        errors = to_float64(reconstructions.reshape(truth.shape), "the batch of reconstructions", 2) - truth
        # An image without error is log10(0): the infinity is meant, the warning is not.
        with np.errstate(divide="ignore"):
            ratios_db = -10 * np.log10((errors**2).mean(axis=1))
        return self.merge(PeakSignalToNoiseRatio(len(truth), float(ratios_db.sum())))

    def merge(self, other: PeakSignalToNoiseRatio) -> PeakSignalToNoiseRatio:
        """Return the accumulator of both sets of images."""
        return PeakSignalToNoiseRatio(self.images + other.images, self.sum_db + other.sum_db)

    @property
    def decibels(self) -> float:
        """Mean PSNR per image in dB. Raises ValueError while there are no images."""
        if self.images == 0:
            raise ValueError("no images were compared; PSNR has no mean")
        return self.sum_db / self.images
