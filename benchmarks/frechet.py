"""The Fréchet distance of 2,048 features beside the common way, which keeps them all: time and memory.

    python -m benchmarks.frechet

The common way is that of pytorch-fid: an array of all features, np.cov, and sqrtm of the product. Both are given the
same float32 features of generated images, in batches, and have the moments of the reference; CPU time, so that what
else the machine does counts less. sqrtm takes a minute or more.
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from evaluation.metrics.frechet import FeatureMoments, frechet_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEATURES, EXAMPLES, BATCH = 2048, 10_000, 1000
FEW = 4000


class Images:
    """Features as skewed and as correlated as those of a network, drawn batch by batch."""

    def __init__(self, seed: int, offset: float) -> None:
        self.seed, self.offset = seed, offset
        self.mixing = np.random.default_rng(0).standard_normal((64, FEATURES), dtype=np.float32) / 8

    def batches(self, examples: int) -> Iterator[np.ndarray]:
        """Yield the features of so many images, the same ones at each call."""
        random = np.random.default_rng(self.seed)
        for _ in range(examples // BATCH):
            common = random.standard_normal((BATCH, 64), dtype=np.float32) @ self.mixing
            own = random.standard_normal((BATCH, FEATURES), dtype=np.float32)
            yield np.maximum(common + 0.3 * own + np.float32(self.offset), 0)


def streamed(images: Images, examples: int) -> FeatureMoments:
    moments = FeatureMoments.empty()
    for batch in images.batches(examples):
        moments = moments.update(batch)
    return moments


def kept(images: Images, examples: int) -> tuple[np.ndarray, np.ndarray]:
    features = np.empty((examples, FEATURES))
    for number, batch in enumerate(images.batches(examples)):
        features[number * BATCH : (number + 1) * BATCH] = batch
    return features.mean(axis=0), np.cov(features, rowvar=False)


def common_distance(mean: np.ndarray, covariance: np.ndarray, reference: FeatureMoments) -> float:
    with warnings.catch_warnings():
        # SciPy says that the square root of a nearly singular matrix may be inaccurate.
        warnings.simplefilter("ignore")
        root = scipy.linalg.sqrtm(covariance @ reference.covariance)
    shift = mean - reference.mean
    return float(shift @ shift + np.trace(covariance + reference.covariance - 2 * root.real))


def seconds_of(function: Callable[[], object]) -> tuple[object, float]:
    started = time.process_time()
    return function(), time.process_time() - started


def peak_mib(function: Callable[[], object]) -> float:
    """Return the most memory that NumPy held meanwhile."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def run() -> None:
    """Print the ratios streamed / common, and the peak memory of both at two numbers of images."""
    images, real = Images(1, 0.1), Images(2, 0.0)
    reference = streamed(real, EXAMPLES)
    drawing = seconds_of(lambda: sum(len(batch) for batch in images.batches(EXAMPLES)))[1]
    streamed(images, FEW)
    moments, ours = seconds_of(lambda: streamed(images, EXAMPLES))
    (mean, covariance), theirs = seconds_of(lambda: kept(images, EXAMPLES))
    first, our_first = seconds_of(lambda: frechet_distance(moments, reference))
    _, our_distance = seconds_of(lambda: frechet_distance(moments, reference))
    common, their_distance = seconds_of(lambda: common_distance(mean, covariance, reference))
    ours, theirs = ours - drawing, theirs - drawing
    print(f"Fréchet distance of {FEATURES:,} features, {EXAMPLES:,} images: streamed / common, want <= 1")
    print(f"  moments                         {ours / theirs:.2f}  ({ours:.1f} s / {theirs:.1f} s)")
    for name, seconds in (("distance, first of a reference", our_first), ("distance, others", our_distance)):
        print(f"  {name:31} {seconds / their_distance:.2f}  ({seconds:.1f} s / {their_distance:.1f} s)")
    both, their_both = ours + our_first, theirs + their_distance
    print(f"  moments and first distance      {both / their_both:.2f}  ({both:.1f} s / {their_both:.1f} s)")
    print(f"  relative difference of values   {abs(first.value / common - 1):.1e}  ({first.value:.4f})")
    for name, way in (("streamed", streamed), ("common", kept)):
        few, many = (peak_mib(lambda way=way, count=count: way(images, count)) for count in (FEW, EXAMPLES))
        print(f"  memory, {name:23} {few:.0f} MiB of {FEW:,} images, {many:.0f} MiB of {EXAMPLES:,}")


if __name__ == "__main__":
    run()
