"""The numbers by which sweeps are compared.

Distortions of different data are not comparable. Only numbers without a unit are averaged over sweeps: ratios of
compute, and differences relative to the β-VAEs.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.analysis.verdict import verdict
from evaluation.report.formatting import difference, percent, percent_change, times
from evaluation.statistics import mean_over_datasets, ratio_over_datasets, without_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.over_seeds import OverSeeds
    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.analysis.verdict import Verdict
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import Series
    from evaluation.statistics import Estimate


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

    @property
    def verdict(self) -> Verdict:
        """Whether one run replaces this sweep."""
        return verdict(self.comparison)


@dataclass(frozen=True)
class Units:
    """One number for each seed of a sweep, by rising seed; if there are none, the reason."""

    values: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True)
class Measure:
    """A number by which sweeps are compared.

    `estimate` is over the seeds of one or several sweeps. Numbers that have a unit, which differs between sweeps, are
    not averaged over sweeps. `beside` returns a text to show below the number of a sweep.
    """

    name: str
    head: str
    meaning: str
    units: Callable[[ComparedSweep], Units]
    estimate: Callable[[Mapping[str, Sequence[float]]], Estimate]
    write: Callable[[float], str]
    has_unit: bool = False
    beside: Callable[[ComparedSweep], str] = lambda _: ""


def _over_seeds(found: OverSeeds) -> Units:
    return Units(found.values, found.reason)


def _relative_distortions(sweep: ComparedSweep) -> Units:
    found = sweep.comparison.equal_rates
    if found.distortion.reason:
        return Units((), found.distortion.reason)
    if any(other <= 0 for other in found.sweep):
        return Units((), "a relative difference needs mean distortions above zero")
    return Units(tuple(one / other for one, other in zip(found.distortion.values, found.sweep, strict=True)))


def _reached(sweep: ComparedSweep) -> Units:
    found = sweep.comparison.equal_rates
    return Units(found.reached, "" if found.reached else found.distortion.reason)


def _relative_hypervolumes(sweep: ComparedSweep) -> Units:
    """Return the differences at the same number of β values, relative to the β-VAEs."""
    pairs = _hypervolumes(sweep)
    if not pairs:
        return Units((), sweep.comparison.distortion.reason or "not defined for these curves")
    if any(other <= 0 for _, other in pairs):
        return Units((), "the β-VAEs dominate no part of the reference rectangle")
    return Units(tuple(one / other - 1 for one, other in pairs))


def _hypervolumes(sweep: ComparedSweep) -> list[tuple[float, float]]:
    single, sweeps = ([seed.hypervolume_same_betas for seed in one.seeds] for one in sweep.series)
    pairs = [(a, b) for a, b in zip(single, sweeps, strict=True) if a is not None and b is not None]
    return pairs if len(pairs) == len(single) else []


def _both_hypervolumes(sweep: ComparedSweep) -> str:
    return " / ".join(f"{statistics.fmean(values):.3f}" for values in zip(*_hypervolumes(sweep), strict=True))


def _answer(sweep: ComparedSweep) -> str:
    return {"yes": "replaces the sweep", "no": "does not replace it", "undecided": "undecided"}[sweep.verdict.answer]


def _without(estimate: Callable[[Mapping[str, Sequence[float]]], Estimate]) -> Callable[..., Estimate]:
    """Return the estimate of shares that end at 100 %, or of hypervolumes, whose reference depends on all seeds."""
    return lambda values: without_interval(estimate(values))


MEASURES = (
    Measure(
        "times_cheaper",
        "times cheaper",
        "CPU time, or device time of GPUs, of training and evaluation of the sweep’s β-VAEs over that of the one "
        "MR-VAE run of the same seed. Over seeds and over sweeps: the geometric mean.",
        lambda sweep: _over_seeds(sweep.comparison.times_cheaper),
        ratio_over_datasets,
        times,
        beside=_answer,
    ),
    Measure(
        "distortion_difference",
        "distortion",
        "The MR-VAE’s mean distortion minus that of the β-VAEs at equal rates, in the sweep’s own unit (sse: summed "
        "squared error). Below zero is better. Not averaged over sweeps.",
        lambda sweep: _over_seeds(sweep.comparison.distortion),
        mean_over_datasets,
        difference,
        has_unit=True,
    ),
    Measure(
        "relative_distortion",
        "distortion, relative",
        "The same difference as a share of the mean distortion of the β-VAEs. Over sweeps: the mean.",
        _relative_distortions,
        mean_over_datasets,
        percent_change,
    ),
    Measure(
        "rates_reached",
        "rates reached",
        "The share of the sweep’s rates that the MR-VAE’s curve spans, over which distortions are compared. Over "
        "sweeps: the mean.",
        _reached,
        _without(mean_over_datasets),
        percent,
    ),
    Measure(
        "bd_distortion",
        "BD-distortion",
        "The Bjøntegaard difference: the MR-VAE’s distortion minus that of the β-VAEs at equal rate, averaged over the "
        "logarithm of the rate, in the sweep’s own unit. Below zero is better. Not averaged over sweeps.",
        lambda sweep: _over_seeds(sweep.comparison.bd_distortion),
        mean_over_datasets,
        difference,
        has_unit=True,
    ),
    Measure(
        "equal_quality",
        "at equal quality",
        "Training time of the sweep over that of the MR-VAE to reach the lower of their best qualities "
        "(hypervolumes). Over seeds and over sweeps: the geometric mean.",
        lambda sweep: _over_seeds(sweep.comparison.equal_quality),
        _without(ratio_over_datasets),
        times,
    ),
    Measure(
        "relative_hypervolume",
        "hypervolume, relative",
        "The hypervolume of the MR-VAE at the sweep’s β values minus that of the β-VAEs, relative to theirs. Below it: "
        "both hypervolumes, as shares of the reference rectangle of the sweep’s own report. Above zero is better. Over "
        "sweeps: the mean.",
        _relative_hypervolumes,
        _without(mean_over_datasets),
        percent_change,
        beside=_both_hypervolumes,
    ),
)
"""In the order in which they are shown."""
