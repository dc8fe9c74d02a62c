"""Comparison of several sweeps, with different data, architectures or seeds: numbers and sentences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.analysis.summary import summarise
from evaluation.report.analysis.sweep_measures import MEASURES, ComparedSweep
from evaluation.report.formatting import counted, interval, listed, percent, percent_change, times
from evaluation.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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

    The intervals over all sweeps are of the seeds within each sweep, so they apply to these sweeps only.

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
    overall = {measure.name: _overall(measure, units[measure.name]) for measure in MEASURES if not measure.has_unit}
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
        headline=_headline(compared, overall, len(records)),
    )


def _reason(record: SweepRecord, summary: ReportSummary) -> str:
    """Return why a sweep is not compared, as a sentence; empty if it is."""
    if record.scaled is not None:
        return f"{record.scaled.title}."
    return "" if summary.comparison is not None else summary.headline


def _estimate(measure: Measure, units: Units) -> Estimate:
    return measure.estimate({"": units.values}) if units.values else Estimate(None, reason=units.reason)


def _overall(measure: Measure, units: Mapping[str, Units]) -> Estimate:
    strata = {name: found.values for name, found in units.items() if found.values}
    if not strata or measure.has_unit:
        return Estimate(None, reason="no sweep has this number")
    return measure.estimate(strata)


def _notes(compared: Sequence[ComparedSweep]) -> tuple[str, ...]:
    remarks = [f"{one.name}: {one.comparison.cost.remark}." for one in compared if one.comparison.cost.remark]
    return (*remarks, *(note for pair in itertools.combinations(compared, 2) for note in _shared(*pair)))


def _shared(one: ComparedSweep, other: ComparedSweep) -> list[str]:
    ids, others = ({trial.trial_id for trial in sweep.record.trials} for sweep in (one, other))
    if not ids & others:
        return []
    shared = counted(len(ids & others), "trial")
    return [f"{one.name} and {other.name} share {shared}: they are not independent, and intervals are too narrow."]


def _headline(compared: Sequence[ComparedSweep], overall: Mapping[str, Estimate], named: int) -> str:
    """Return in how many sweeps one run replaces the β-VAEs, and the cost and distortion over all of them."""
    if not compared:
        return f"None of the {counted(named, 'sweep')} can be compared."
    findings: dict[str, list[str]] = {}
    for estimate, write in ((overall["times_cheaper"], _cost), (overall["relative_distortion"], _quality)):
        if estimate.value is not None:
            findings.setdefault(_over(estimate), []).append(write(estimate, estimate.value))
    text = "; ".join(f"over {over}, {' and '.join(found)}" for over, found in findings.items())
    return f"{_answers(compared, named)}." + (f" {text[0].upper()}{text[1:]}." if text else "")


def _answers(compared: Sequence[ComparedSweep], named: int) -> str:
    answers = [sweep.verdict.answer for sweep in compared]
    others = [f"{answers.count(kind)} {kind}" for kind in ("no", "undecided") if kind in answers]
    left_out = named - len(compared)
    others += [f"{left_out} not compared"] if left_out else []
    rest = f" ({', '.join(others)})" if others else ""
    return f"One MR-VAE run replaces the β-VAEs in {answers.count('yes')} of {counted(named, 'sweep')}{rest}"


def _cost(ratio: Estimate, value: float) -> str:
    word, shown = ("less", ratio) if value >= 1 else ("more", ratio.inverse())
    return f"it costs {times(max(value, 1 / value))} times {word} ({_known(shown, times)})"


def _quality(relative: Estimate, value: float) -> str:
    change = percent_change(abs(value)).removeprefix("+")
    word = "lower" if value < 0 else "higher"
    return f"its distortion at equal rates is {change} {word} ({_known(relative, percent_change)})"


def _over(estimate: Estimate) -> str:
    seeds = f"{' + '.join(map(str, estimate.seeds))} seed{'' if sum(estimate.seeds) == 1 else 's'}"
    return f"{counted(len(estimate.seeds), 'sweep')} ({seeds})"


def _known(estimate: Estimate, write: Callable[[float], str]) -> str:
    ends = interval(estimate, write)
    return f"{percent(estimate.level)} interval {ends}" if ends else "no interval"


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
