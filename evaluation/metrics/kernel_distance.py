from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import to_finite

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values

KERNEL = "polynomial-3"


@dataclass(frozen=True)
class KernelDistance:
    """A squared maximum mean discrepancy, as the mean over random subsets, and what it was estimated from.

    `std` is the standard deviation between the subsets, which share examples: it is no standard error. It is None
    where there is one subset. `examples` and `reference_examples` are what the subsets were drawn from.
    """

    value: float
    std: float | None
    subsets: int
    subset_size: int
    examples: int
    reference_examples: int
    kernel: str = KERNEL


def kernel_distance(
    generated: Values, reference: Values, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Return the unbiased squared MMD of features (N, D) and (M, D) with the kernel (x·y / D + 1)³.

    On Inception features this is the KID (Bińkowski et al. 2018, section 4). It is unbiased at any number of examples,
    so that it can be below 0 where the sets are alike. Subsets are drawn without replacement; they are as large as the
    smaller set where that is below `subset_size`, and there is one only where they would all be the same.

    Raises:
        ValueError: the numbers of features differ, a set has fewer than 2 examples, or a value is not finite.
    """
    first, second = to_finite(generated, "the generated features"), to_finite(reference, "the reference features")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first.shape[1]} and {second.shape[1]} features cannot be compared; use one extractor for all"
        )
    size = min(subset_size, len(first), len(second))
    if size < 2 or subsets < 1:  # noqa: PLR2004 (a mean over pairs needs two)
        raise ValueError(f"{subsets} subsets of {size} examples have no kernel distance; take 1 or more of 2 or more")
    if size == len(first) == len(second):
        subsets = 1
    random = np.random.default_rng(seed)
    values = [
        _squared_discrepancy(
            *(features[random.choice(len(features), size, replace=False)] for features in (first, second))
        )
        for _ in range(subsets)
    ]
    std = float(np.std(values)) if subsets > 1 else None
    return KernelDistance(float(np.mean(values)), std, subsets, size, len(first), len(second))


def _squared_discrepancy(first: Float64, second: Float64) -> float:
    """Return the U-statistic of two sets (n, D) of one size (Gretton et al. 2012, Eq. 3)."""
    pairs = len(first) * (len(first) - 1)
    within = sum(float(kernel.sum() - np.trace(kernel)) for kernel in (_kernel(first, first), _kernel(second, second)))
    return within / pairs - 2 * float(_kernel(first, second).mean())


def _kernel(one: Float64, other: Float64) -> Float64:
    similarities: Float64 = one @ other.T
    similarities /= one.shape[1]
    similarities += 1
    # Two products in place, ten times as fast as a power.
    return similarities * similarities * similarities
