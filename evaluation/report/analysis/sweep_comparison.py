"""Comparison of several sweeps, with different data, architectures or seeds: numbers and sentences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.analysis.summary import summarise
from evaluation.report.analysis.sweep_measures import MEASURES, ComparedSweep
from evaluation.report.formatting import counted, interval, listed, percent, percent_change, times
from evaluation.statistics import Estimate, bootstrap, bootstrap_over_datasets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.analysis.sweep_measures import Measure, Units
    from evaluation.report.content.contents import SweepRecord


@dataclass(frozen=True)
class SweepComparison:
    """The results of several sweeps: the estimates of each by measure, and the overall ones by measure.

    `left_out` are sweeps that are not compared, with the reason; `over` are the names of the sweeps in each overall
    estimate. `notes` are remarks on conversions and shared trials.
    """

    compared: tuple[ComparedSweep, ...]
    left_out: tuple[tuple[str, str], ...]
    estimates: Mapping[str, Mapping[str, Estimate]]
    overall: Mapping[str, Estimate]
    over: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    headline: str


def compare_sweeps(records: Sequence[SweepRecord]) -> SweepComparison:
    """Compare sweeps, each by the pair of series in the headline of its report.

    The intervals over all sweeps are those of the stratified bootstrap (Agarwal et al. 2021): seeds are resampled
    within each sweep and sweeps are not, so the intervals apply to these sweeps only.

    Raises:
        ValueError: two sweeps have one name.
    """
    names = [record.name for record in records]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"sweep {twice!r} is named twice; name each sweep once")
    summaries = [(record, summarise(record)) for record in records]
    compared = tuple(
        ComparedSweep(record, summary, summary.comparison)
        for record, summary in summaries
        if summary.comparison is not None and record.scaled is None
    )
    units = {measure.name: {one.name: measure.units(one) for one in compared} for measure in MEASURES}
    overall = {measure.name: _overall(measure, units[measure.name]) for measure in MEASURES if measure.combine}
    return SweepComparison(
        compared=compared,
        left_out=tuple((one.name, reason) for one, summary in summaries if (reason := _reason(one, summary))),
        estimates={
            one.name: {measure.name: _estimate(measure, units[measure.name][one.name]) for measure in MEASURES}
            for one in compared
        },
        overall=overall,
        over={name: tuple(sweep for sweep, found in units[name].items() if found.values) for name in overall},
        notes=_notes(compared),
        headline=_headline(overall, units, len(records)),
    )


def _reason(record: SweepRecord, summary: ReportSummary) -> str:
    """Return why a sweep is not compared, as a sentence; empty if it is."""
    if record.scaled is not None:
        return f"{record.scaled.title}."
    return "" if summary.comparison is not None else summary.headline


def _estimate(measure: Measure, units: Units) -> Estimate:
    return bootstrap(units.values, measure.statistic) if units.values else Estimate(None, reason=units.reason)


def _overall(measure: Measure, units: Mapping[str, Units]) -> Estimate:
    strata = {name: found.values for name, found in units.items() if found.values}
    if not strata or measure.combine is None:
        return Estimate(None, reason="no sweep has this number")
    return bootstrap_over_datasets(strata, measure.statistic, combine=measure.combine)


def _notes(compared: Sequence[ComparedSweep]) -> tuple[str, ...]:
    remarks = [f"{one.name}: {one.comparison.remark}." for one in compared if one.comparison.remark]
    return (*remarks, *(note for pair in itertools.combinations(compared, 2) for note in _shared(*pair)))


def _shared(one: ComparedSweep, other: ComparedSweep) -> list[str]:
    ids, others = ({trial.trial_id for trial in sweep.record.trials} for sweep in (one, other))
    if not ids & others:
        return []
    shared = counted(len(ids & others), "trial")
    return [f"{one.name} and {other.name} share {shared}: they are not independent, and intervals are too narrow."]


def _headline(overall: Mapping[str, Estimate], units: Mapping[str, Mapping[str, Units]], named: int) -> str:
    findings = {"times_cheaper": _cost(overall["times_cheaper"]), "relative_distortion": _quality(overall)}
    over: dict[str, list[str]] = {}
    for name, finding in findings.items():
        if finding:
            over.setdefault(_over(units[name], named), []).append(finding)
    sentences = [f"{sweeps}, {'; '.join(found)}." for sweeps, found in over.items()]
    return " ".join(sentences) or f"None of the {counted(named, 'sweep')} can be compared."


def _over(units: Mapping[str, Units], named: int) -> str:
    count = sum(bool(found.values) for found in units.values())
    return f"Over {counted(count, 'sweep')}" if count == named else f"Over {count} of {counted(named, 'sweep')}"


def _cost(ratio: Estimate) -> str:
    if ratio.value is None:
        return ""
    words, factor = ("less", ratio.value) if ratio.value >= 1 else ("more", 1 / ratio.value)
    ends = interval(ratio, lambda value: f"{times(value)}×")
    return f"one MR-VAE run costs {times(factor)} times {words} than the sweep of β-VAEs{_known(ratio, ends)}"


def _quality(overall: Mapping[str, Estimate]) -> str:
    relative, chance = overall["relative_distortion"], overall["probability"]
    if relative.value is None or chance.value is None:
        return ""
    change = percent_change(abs(relative.value)).removeprefix("+")
    ends, odds = interval(relative, percent_change), interval(chance, lambda value: f"{value:.2f}")
    return (
        f"the mean distortion of an MR-VAE is {change} {'lower' if relative.value < 0 else 'higher'} than that of the "
        f"β-VAEs{_known(relative, ends)}, and lower with a probability of {chance.value:.2f}{_known(chance, odds)}"
    )


def _known(estimate: Estimate, ends: str) -> str:
    return f" ({ends}, {percent(estimate.level)} interval)" if ends else " (no interval)"


def missing_results(sweep_comparison: SweepComparison) -> tuple[str, ...]:
    """Return one sentence for each sweep that is not compared and for each missing number or interval."""
    sentences = [f"{name}: {reason}" for name, reason in sweep_comparison.left_out]
    for name, estimates in sweep_comparison.estimates.items():
        reasons: dict[str, list[str]] = {}
        for measure in MEASURES:
            if estimates[measure.name].reason:
                reasons.setdefault(estimates[measure.name].reason, []).append(measure.head)
        sentences += [f"{name}: {listed(heads)}: {reason}." for reason, heads in reasons.items()]
    return tuple(sentences)
