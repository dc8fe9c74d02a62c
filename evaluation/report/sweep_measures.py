"""The numbers that sweeps are compared by.

Distortions of different data, in nats or as squared errors, are different things. What is averaged over sweeps has no
unit: ratios of compute, differences as a share of what the β-VAEs reach, and probabilities.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.report.wording import difference, percent, percent_change, times
from evaluation.statistics import probability_of_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.report.comparison import Comparison, OverSeeds
    from evaluation.report.contents import SweepRecord
    from evaluation.report.series import SeedCurve, Series
    from evaluation.report.summary import ReportSummary

Pair = tuple[float, float]


@dataclass(frozen=True)
class ComparedSweep:
    """A sweep whose MR-VAE can be set against its β-VAEs, by the series that its own report compares."""

    record: SweepRecord
    summary: ReportSummary
    comparison: Comparison

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.record.name

    @property
    def series(self) -> tuple[Series, Series]:
        """The MR-VAE and the β-VAEs that are compared."""
        named = {one.name: one for one in self.summary.series}
        return named[self.comparison.single], named[self.comparison.sweep]

    def pairs(self, of: Callable[[SeedCurve], float | None]) -> tuple[Pair, ...]:
        """Return a number of both methods for each seed, none where a seed lacks it."""
        single, sweep = (tuple(of(seed) for seed in one.seeds) for one in self.series)
        pairs = zip(single, sweep, strict=True)
        known = tuple((one, other) for one, other in pairs if one is not None and other is not None)
        return known if len(known) == len(single) else ()


@dataclass(frozen=True)
class Units:
    """What each seed of a sweep gives, by rising seed; none, and the reason."""

    values: tuple[Any, ...]
    reason: str = ""


@dataclass(frozen=True)
class Measure:
    """A number that sweeps are compared by.

    `statistic` is taken of the seeds of one sweep, and `combine` of the sweeps; it is None where the number has the
    unit of a distortion, which sweeps do not share. `beside` says what else stands below the number of a sweep.
    """

    name: str
    head: str
    meaning: str
    units: Callable[[ComparedSweep], Units]
    statistic: Callable[[Sequence[Any]], float]
    combine: Callable[[Sequence[float]], float] | None
    write: Callable[[float], str]
    beside: Callable[[ComparedSweep], str] = lambda _: ""


def _over_seeds(found: OverSeeds) -> Units:
    return Units(found.values, found.reason)


def _distortions(sweep: ComparedSweep) -> Units:
    """Return the mean distortions of both methods over the rates that the sweep's report compares."""
    reason = sweep.comparison.distortion.reason
    return Units((), reason) if reason else Units(sweep.pairs(lambda seed: seed.mean_distortion))


def _relative_distortions(sweep: ComparedSweep) -> Units:
    found = _distortions(sweep)
    if any(other <= 0 for _, other in found.values):
        return Units((), "a mean distortion that is not above zero has no shares")
    return found


def _hypervolumes(sweep: ComparedSweep) -> Units:
    """Return the hypervolumes of both methods at equally many β."""
    pairs = sweep.pairs(lambda seed: seed.hypervolume_same_betas)
    if not pairs:
        return Units((), sweep.comparison.distortion.reason or "not defined for these curves")
    if any(other <= 0 for _, other in pairs):
        return Units((), "the β-VAEs dominate no part of the rectangle")
    return Units(pairs)


def _mean_difference(pairs: Sequence[Pair]) -> float:
    return math.fsum(one - other for one, other in pairs) / len(pairs)


def _relative_difference(pairs: Sequence[Pair]) -> float:
    return math.fsum(one - other for one, other in pairs) / math.fsum(other for _, other in pairs)


def _both_hypervolumes(sweep: ComparedSweep) -> str:
    pairs = _hypervolumes(sweep).values
    return " / ".join(f"{statistics.fmean(values):.3f}" for values in zip(*pairs, strict=True))


def _share_reached(sweep: ComparedSweep) -> str:
    share = sweep.comparison.share
    return f"at {percent(share)}" if share < 1 else ""


MEASURES = (
    Measure(
        "times_cheaper",
        "times cheaper",
        "Device time of training and evaluation of the sweep’s β-VAEs over that of the one MR-VAE run of the same "
        "seed. Over seeds and over sweeps: the geometric mean.",
        lambda sweep: _over_seeds(sweep.comparison.times_cheaper),
        statistics.geometric_mean,
        statistics.geometric_mean,
        times,
    ),
    Measure(
        "equal_quality",
        "at equal quality",
        "Device time of training that the sweep takes to reach a quality (hypervolume) over what the MR-VAE takes. The "
        "quality is the sweep’s best, or the share of it that is stated, where the MR-VAE reaches no more. Over seeds "
        "and over sweeps: the geometric mean.",
        lambda sweep: _over_seeds(sweep.comparison.equal_quality),
        statistics.geometric_mean,
        statistics.geometric_mean,
        times,
        _share_reached,
    ),
    Measure(
        "distortion_difference",
        "distortion",
        "The MR-VAE’s mean distortion less that of the β-VAEs, over the rates that all curves of the sweep span, in "
        "the sweep’s own unit (sse: summed squared error). Less than zero is better. Not averaged over sweeps.",
        _distortions,
        _mean_difference,
        None,
        difference,
    ),
    Measure(
        "relative_distortion",
        "distortion, relative",
        "The same difference as a share of the mean distortion of the β-VAEs. Over sweeps: the mean.",
        _relative_distortions,
        _relative_difference,
        statistics.fmean,
        percent_change,
    ),
    Measure(
        "probability",
        "P(lower)",
        "The probability that the mean distortion of an MR-VAE of any seed is lower than that of the β-VAEs of any "
        "seed (Agarwal et al. 2021): 0.5 where there is nothing between them. Over sweeps: the mean.",
        _distortions,
        probability_of_improvement,
        statistics.fmean,
        "{:.2f}".format,
    ),
    Measure(
        "bd_distortion",
        "BD-distortion",
        "The Bjøntegaard difference of the MR-VAE’s distortion from the β-VAEs’ at equal rate, where each doubling of "
        "the rate weighs the same, in the sweep’s own unit. Less than zero is better. Not averaged over sweeps.",
        lambda sweep: _over_seeds(sweep.comparison.bd_distortion),
        statistics.fmean,
        None,
        difference,
    ),
    Measure(
        "relative_hypervolume",
        "hypervolume, relative",
        "The hypervolume of the MR-VAE at the sweep’s β less that of the β-VAEs, as a share of theirs; below it both "
        "as shares of the reference rectangle of the sweep’s own report. Above zero is better. Over sweeps: the mean.",
        _hypervolumes,
        _relative_difference,
        statistics.fmean,
        percent_change,
        _both_hypervolumes,
    ),
)
"""In the order in which they are shown."""
