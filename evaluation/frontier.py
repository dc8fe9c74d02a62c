"""The best quality of a rate-distortion curve for each compute budget: one MR-VAE run against a sweep of β-VAEs.

The quality of a curve is the share of the reference rectangle that it dominates (`curves.hypervolume_share`). It is the
only summary that is defined for one or two points, which is all that a small budget gives, and that never falls when
points are added. It rises with the number of points, so an MR-VAE is measured at one point for each model of the sweep.

Device-seconds are of one device kind; the caller must not mix kinds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.compute import Ratio
from evaluation.curves import hypervolume_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from evaluation.curves import RatePoint

EXACT_MODELS = 20
"""Up to this many models the best subset of them is always found: there are at most 2^20 to choose from."""

KEPT_CHAINS = 4096
"""The number of partial subsets that are followed at each model of a larger sweep."""


@dataclass(frozen=True)
class Checkpoint:
    """The curve of an MR-VAE, evaluated after this many device-seconds of training."""

    device_seconds: float
    curve: Sequence[RatePoint]


@dataclass(frozen=True)
class Model:
    """The cost of training one β-VAE, and its point."""

    device_seconds: float
    point: RatePoint


@dataclass(frozen=True)
class Step:
    """The best quality from a budget of this many device-seconds on.

    `chosen` are the indices of the β-VAEs of the best subset, or of the one checkpoint.
    """

    device_seconds: float
    quality: float
    chosen: tuple[int, ...]


@dataclass(frozen=True)
class Frontier:
    """The best quality of every budget: a step function, whose steps rise strictly in both.

    `device_seconds` is the total cost, `points` the number of all points, `reference` the reference point of the
    qualities. The true best quality exceeds that of the steps by at most `shortfall`, which is 0.0 for exact steps.
    """

    steps: tuple[Step, ...]
    device_seconds: float
    points: int
    reference: RatePoint
    shortfall: float = 0.0

    @property
    def quality(self) -> float:
        """The best quality of all that was spent."""
        return self.quality_at(math.inf)

    def quality_at(self, device_seconds: float) -> float:
        """Return the best quality that fits the budget, 0.0 where nothing does."""
        return max((step.quality for step in self.steps if step.device_seconds <= device_seconds), default=0.0)

    def compute_at(self, quality: float) -> float | None:
        """Return the device-seconds of the first budget that reaches the quality, None if none does."""
        return min((step.device_seconds for step in self.steps if step.quality >= quality), default=None)


def single_frontier(checkpoints: Sequence[Checkpoint], reference: RatePoint) -> Frontier:
    """Return the frontier of one MR-VAE run: at each budget the best of its checkpoints so far.

    A run planned for a smaller budget would anneal its learning rate within it, so with a schedule the early qualities
    are lower than those of such a run.

    Raises:
        ValueError: there is no checkpoint, their numbers of points differ, or device-seconds are not a number of 0
            or more.
    """
    _check([checkpoint.device_seconds for checkpoint in checkpoints], "checkpoint")
    sizes = [len(checkpoint.curve) for checkpoint in checkpoints]
    odd = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is not None:
        raise ValueError(
            f"checkpoint {odd} has {sizes[odd]} points and checkpoint 0 {sizes[0]}; evaluate all at the same β values"
        )
    steps = (
        Step(checkpoint.device_seconds, hypervolume_share(checkpoint.curve, reference), (index,))
        for index, checkpoint in enumerate(checkpoints)
    )
    spent = max(checkpoint.device_seconds for checkpoint in checkpoints)
    return Frontier(_rising(steps), spent, sizes[0], reference)


def sweep_frontier(models: Sequence[Model], reference: RatePoint) -> Frontier:
    """Return the frontier of a sweep: at each budget the best subset of its β-VAEs that can be trained with it.

    This favours the sweep, never the MR-VAE: the best subset is known only after all β-VAEs are trained, and the first
    budget of the best quality leaves out the β-VAEs that others dominate.

    Finding the best subset is a knapsack problem. A point that another of the subset dominates only adds cost, so only
    chains are considered: points of rising rate r and falling distortion d. With the reference (R, D) and d_0 = D, the
    hypervolume of a chain is the sum of (R - r_i)(d_{i-1} - d_i), so the gain of a point depends only on the last point
    of the chain. Of the chains that end at a model, those with a cheaper chain of no smaller hypervolume are dropped.
    This is exact, and always done for 20 models or fewer. For more, at most `KEPT_CHAINS` chains are followed at each
    model, evenly spread over their hypervolumes; `shortfall` bounds the loss, and the quality of the whole sweep is
    still exact.

    Raises:
        ValueError: there is no model, or device-seconds are not a number of 0 or more.
    """
    _check([model.device_seconds for model in models], "model")
    subsets, lost = _best_chains(models, reference)
    steps = (
        Step(
            math.fsum(models[index].device_seconds for index in subset),
            hypervolume_share([models[index].point for index in subset], reference),
            subset,
        )
        for subset in subsets
    )
    spent = math.fsum(model.device_seconds for model in models)
    return Frontier(_rising(steps), spent, len(models), reference, lost / (reference[0] * reference[1]))


def compute_ratio(single: Frontier, sweep: Frontier) -> Ratio:
    """Return the device-seconds of the sweep over those of the MR-VAE at equal quality: the lower of their best ones.

    A level that both reach, and that neither defines alone, favours neither: for two methods with the same distribution
    of frontiers the logarithm of the ratio is 0 in the mean.

    Raises:
        ValueError: qualities are of different references.
    """
    reason = _unequal(single, sweep)
    if reason:
        return Ratio(None, reason)
    quality = min(single.quality, sweep.quality)
    if not quality > 0:
        return Ratio(None, f"a quality of {quality:.3g} is reached without training")
    needed, spent = sweep.compute_at(quality), single.compute_at(quality)
    return Ratio(needed / spent) if needed and spent else Ratio(None, "no device time is recorded")


def quality_difference(single: Frontier, sweep: Frontier) -> float | None:
    """Return the quality of the MR-VAE minus that of the best subset of the sweep that costs no more.

    None if they have different numbers of points, on which hypervolumes depend.

    Raises:
        ValueError: qualities are of different references.
    """
    return None if _unequal(single, sweep) else single.quality - sweep.quality_at(single.device_seconds)


def _unequal(single: Frontier, sweep: Frontier) -> str:
    if single.reference != sweep.reference:
        raise ValueError("qualities are of different references; build all frontiers with one reference")
    if single.points == sweep.points:
        return ""
    return (
        f"the MR-VAE has {single.points} points and the sweep {sweep.points}; hypervolumes compare at equal numbers of "
        "points: evaluate the MR-VAE at the sweep’s β values"
    )


def _check(device_seconds: Sequence[float], kind: str) -> None:
    if not device_seconds:
        raise ValueError(f"there is no {kind}; a frontier needs one or more")
    for index, seconds in enumerate(device_seconds):
        if not 0 <= seconds < math.inf:
            raise ValueError(f"{kind} {index} cost {seconds} device-seconds; the number must be 0 or more, and finite")


def _rising(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps that are better than all cheaper ones."""
    rising: list[Step] = []
    for step in sorted(steps, key=lambda step: (step.device_seconds, -step.quality)):
        if step.quality > (rising[-1].quality if rising else 0.0):
            rising.append(step)
    return tuple(rising)


@dataclass(frozen=True, eq=False)
class _Chains:
    """The chains (L,) that end at one model, by rising cost and rising area.

    Each extends chain `row` of the `before`-th item of the list so far. Dropped chains have at most `lost` more area
    than a kept one that costs no more.
    """

    model: int
    distortion: float
    cost: NDArray[np.float64]
    area: NDArray[np.float64]
    before: NDArray[np.int64]
    row: NDArray[np.int64]
    lost: float = 0.0


def _best_chains(models: Sequence[Model], reference: RatePoint) -> tuple[list[tuple[int, ...]], float]:
    """Return the subsets that no cheaper one equals in area, and a bound on the area lost by dropping chains."""
    inside = [index for index, model in enumerate(models) if _is_inside(model.point, reference)]
    most = 2**EXACT_MODELS if len(inside) <= EXACT_MODELS else KEPT_CHAINS
    nothing, nowhere = np.zeros(1), np.zeros(1, dtype=np.int64)
    ends = [_Chains(-1, reference[1], nothing, nothing, nowhere, nowhere)]
    for index in sorted(inside, key=lambda index: models[index].point):
        ends.append(_ending_at(index, models[index], ends, reference, most))
    cost, area, before, row = _joined(ends)
    best = _undominated(cost, area)
    subsets = [_traced(ends, int(before[label]), int(row[label])) for label in best]
    return subsets, max(end.lost for end in ends)


def _ending_at(index: int, model: Model, ends: Sequence[_Chains], reference: RatePoint, most: int) -> _Chains:
    """Return the chains that end at this model, extended from those before it; at most `most`."""
    rate, distortion = model.point
    cost, area, before, row = _joined(ends)
    above = np.array([end.distortion for end in ends])[before]
    from_above = above > distortion
    cost, area, before, row = (column[from_above] for column in (cost, area, before, row))
    cost = cost + model.device_seconds
    area = area + (reference[0] - rate) * (above[from_above] - distortion)
    kept = _undominated(cost, area)
    lost = max(end.lost for end in ends if end.distortion > distortion)
    if len(kept) > most:
        width = (area[kept[-1]] - area[kept[0]]) / most
        # Of the chains whose areas are within one width the first is the cheapest.
        bins = ((area[kept] - area[kept[0]]) / width).astype(np.int64)
        # The last has the area of the whole front up to here, which the quality of the whole sweep is made of.
        bins[-1] = most
        kept = kept[np.diff(bins, prepend=-1) > 0]
        lost += width
    return _Chains(index, distortion, cost[kept], area[kept], before[kept], row[kept], lost)


def _joined(ends: Sequence[_Chains]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the cost and area of all chains, and their places: the index of their end and their row in it."""
    sizes = [len(end.cost) for end in ends]
    return (
        np.concatenate([end.cost for end in ends]),
        np.concatenate([end.area for end in ends]),
        np.repeat(np.arange(len(ends)), sizes),
        np.concatenate([np.arange(size) for size in sizes]),
    )


def _undominated(cost: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices, by rising cost, of the chains with more area than all others that cost no more."""
    order = np.lexsort((-area, cost))
    largest = np.maximum.accumulate(area[order])
    return order[np.diff(largest, prepend=-math.inf) > 0]


def _traced(ends: Sequence[_Chains], number: int, row: int) -> tuple[int, ...]:
    """Return the models of one chain, by their indices."""
    chosen: list[int] = []
    while number > 0:
        end = ends[number]
        chosen.append(end.model)
        number, row = int(end.before[row]), int(end.row[row])
    return tuple(sorted(chosen))


def _is_inside(point: RatePoint, reference: RatePoint) -> bool:
    return all(math.isfinite(value) and value < limit for value, limit in zip(point, reference, strict=True))
