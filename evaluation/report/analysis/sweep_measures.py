"""The numbers by which sweeps are compared.

Distortions of different data are not comparable. Only numbers without a unit are averaged over sweeps: ratios of
compute, differences relative to the β-VAEs, and probabilities.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.report.formatting import difference, percent, percent_change, times
from evaluation.statistics import probability_of_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.report.analysis.comparison import Comparison, OverSeeds
    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import SeedCurve, Series

Pair = tuple[float, float]


@dataclass(frozen=True)
class ComparedSweep:
    """A sweep whose MR-VAE can be compared with its β-VAEs, by the first pair of series in its report."""

    record: SweepRecord
    summary: ReportSummary
    comparison: Comparison

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.record.name

    @property
    def series(self) -> tuple[Series, Series]:
        """The compared MR-VAE and β-VAE series."""
        named = {one.name: one for one in self.summary.series}
        return named[self.comparison.single], named[self.comparison.sweep]

    def pairs(self, of: Callable[[SeedCurve], float | None]) -> tuple[Pair, ...]:
        """Return a number of both methods for each seed; empty if any seed has none."""
        single, sweep = (tuple(of(seed) for seed in one.seeds) for one in self.series)
        pairs = zip(single, sweep, strict=True)
        known = tuple((one, other) for one, other in pairs if one is not None and other is not None)
        return known if len(known) == len(single) else ()


@dataclass(frozen=True)
class Units:
    """The values of the seeds of a sweep, by rising seed; if there are none, the reason."""

    values: tuple[Any, ...]
    reason: str = ""


@dataclass(frozen=True)
class Measure:
    """A number by which sweeps are compared.

    `statistic` is over the seeds of one sweep, and `combine` over the sweeps; it is None for numbers in the unit of
    distortion, which differs between sweeps. `beside` returns a text to show below the number of a sweep.
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
        return Units((), "a relative difference needs mean distortions above zero")
    return found


def _hypervolumes(sweep: ComparedSweep) -> Units:
    """Return the hypervolumes of both methods at the same number of β values."""
    pairs = sweep.pairs(lambda seed: seed.hypervolume_same_betas)
    if not pairs:
        return Units((), sweep.comparison.distortion.reason or "not defined for these curves")
    if any(other <= 0 for _, other in pairs):
        return Units((), "the β-VAEs dominate no part of the reference rectangle")
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
        "Training time of the sweep to reach a quality (hypervolume) over that of the MR-VAE. The quality is the "
        "sweep’s best, or the share of it that is shown if the MR-VAE does not reach the best. Over seeds and over "
        "sweeps: the geometric mean.",
        lambda sweep: _over_seeds(sweep.comparison.equal_quality),
        statistics.geometric_mean,
        statistics.geometric_mean,
        times,
        _share_reached,
    ),
    Measure(
        "distortion_difference",
        "distortion",
        "The MR-VAE’s mean distortion minus that of the β-VAEs, over the rates that all curves of the sweep span, in "
        "the sweep’s own unit (sse: summed squared error). Below zero is better. Not averaged over sweeps.",
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
        "seed (Agarwal et al. 2021); 0.5 means no difference. Over sweeps: the mean.",
        _distortions,
        probability_of_improvement,
        statistics.fmean,
        "{:.2f}".format,
    ),
    Measure(
        "bd_distortion",
        "BD-distortion",
        "The Bjøntegaard difference: the MR-VAE’s distortion minus that of the β-VAEs at equal rate, averaged over the "
        "logarithm of the rate, in the sweep’s own unit. Below zero is better. Not averaged over sweeps.",
        lambda sweep: _over_seeds(sweep.comparison.bd_distortion),
        statistics.fmean,
        None,
        difference,
    ),
    Measure(
        "relative_hypervolume",
        "hypervolume, relative",
        "The hypervolume of the MR-VAE at the sweep’s β values minus that of the β-VAEs, relative to theirs. Below it: "
        "both hypervolumes, as shares of the reference rectangle of the sweep’s own report. Above zero is better. Over "
        "sweeps: the mean.",
        _hypervolumes,
        _relative_difference,
        statistics.fmean,
        percent_change,
        _both_hypervolumes,
    ),
)
"""In the order in which they are shown."""
