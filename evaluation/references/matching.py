"""Which curve of a sweep is which of a reference: told by the settings of their trials, not by what they are called."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.series import gather
from evaluation.report.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evaluation.records import Point
    from evaluation.references.reference import Reference, ReferenceCurve
    from evaluation.report.contents import SweepRecord, TrialRecord
    from evaluation.report.series import Series

NOT_COMPARED = frozenset({"numerics", "seed", "method.beta", "training.threads"})
"""Settings that differ within a curve, or that a reference is there to compare across."""
TRAINING = "training."
"""How a trial is trained does not say what it is about: other settings are named beside the result, not refused."""
MOST_DIFFERENCES = 5


@dataclass(frozen=True)
class MatchedCurve:
    """A series of the sweep and the reference's curve of the same method, data and network, with their settings."""

    series: Series
    curve: ReferenceCurve
    here: Mapping[str, str]
    there: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the comparison is called: both names where they differ."""
        same = self.series.name == self.curve.name
        return self.series.name if same else f"{self.series.name} against {self.curve.name}"

    @property
    def differences(self) -> tuple[str, ...]:
        """The settings that differ, which are all of training."""
        return tuple(_differences(self.here, self.there))

    @property
    def subject(self) -> dict[str, str]:
        """What both are about besides the method: the data, the network, the objective."""
        return {key: value for key, value in self.there.items() if not key.startswith((TRAINING, "method."))}


def match(sweep: SweepRecord, reference: Reference) -> tuple[MatchedCurve, ...]:
    """Return the curves that can be compared, in the reference's order.

    Where a reference has several curves that differ in training alone, each takes the series trained as it was, if
    there is one.
    """
    series, _ = gather(sweep.trials)
    settings = {one.name: common_settings(trials_of(sweep, one)) for one in series}
    matched = [
        MatchedCurve(one, curve, settings[one.name], reference.settings_of(curve))
        for curve, one in itertools.product(reference.curves, series)
        if is_about(settings[one.name], reference.settings_of(curve))
    ]
    exact = [pair for pair in matched if not pair.differences]
    taken = {pair.series.name for pair in exact}, {pair.curve.name for pair in exact}
    return tuple(
        pair
        for pair in matched
        if pair in exact or (pair.series.name not in taken[0] and pair.curve.name not in taken[1])
    )


def is_about(here: Mapping[str, str], there: Mapping[str, str]) -> bool:
    """Whether trials have every setting of a reference's curve, those of training aside."""
    return all(key.startswith(TRAINING) for key in _differences(here, there))


def common_settings(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Return the settings that are the same in all of some trials, less those that are not compared."""
    first, *others = [trial.settings or {} for trial in trials]
    return {
        key: value
        for key, value in first.items()
        if key not in NOT_COMPARED and all(other.get(key) == value for other in others)
    }


def trials_of(sweep: SweepRecord, series: Series) -> tuple[TrialRecord, ...]:
    """Return the trials of one series."""
    return tuple(trial for trial in sweep.trials if trial.series == series.name)


def obstacle(sweep: SweepRecord, reference: Reference, matched: Sequence[MatchedCurve]) -> str:
    """Return why a sweep cannot be held against a reference at all, with the next step; empty where it can."""
    at = sweep.scaled.by if sweep.scaled else None
    if at != reference.scaled:
        return (
            f"the sweep is {_at_scale(at)} and the reference {_at_scale(reference.scaled)}: they are about other sizes"
        )
    if sweep.waiting:
        return f"{counted(sweep.waiting, 'trial')} wait for a learning rate to be chosen; submit the sweep again first"
    if not matched:
        return (
            f"the sweep is about something else: {_nearest_differences(sweep, reference)}; "
            "`mrvae-orch check --list` shows the references"
        )
    points = [point for pair in matched for trial in trials_of(sweep, pair.series) for point in trial.points]
    if not points:
        return "no trial that could be compared is done; submit the sweep again first"
    return _other_measure(points, reference)


def notes(sweep: SweepRecord, reference: Reference, matched: Sequence[MatchedCurve]) -> Iterator[str]:
    """Yield what a reader must know beside the results: what was left out, what was trained otherwise, caveats."""
    own = reference.trial_ids & {trial.trial_id for trial in sweep.trials}
    if own:
        yield f"{counted(len(own), 'trial')} of the sweep are the reference's own: this much agrees by itself"
    compared = {pair.series.name for pair in matched}
    series = dict.fromkeys(trial.series for trial in sweep.trials)
    yield from (f"not in the reference: {name}" for name in series if name not in compared)
    found = {pair.curve.name for pair in matched}
    yield from (f"not in the sweep: {curve.name}" for curve in reference.curves if curve.name not in found)
    yield from _trained_otherwise(matched)
    yield from reference.caveats


def _trained_otherwise(matched: Sequence[MatchedCurve]) -> Iterator[str]:
    where: dict[str, list[str]] = {}
    for pair in matched:
        for key in pair.differences:
            text = f"{key} is {pair.here.get(key, 'not the same in all trials')}, in the reference {pair.there[key]}"
            where.setdefault(text, []).append(pair.name)
    yield from (f"trained otherwise: {text} ({'; '.join(names)})" for text, names in where.items())


def _differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    return [key for key, value in there.items() if here.get(key) != value]


def _nearest_differences(sweep: SweepRecord, reference: Reference) -> str:
    series, _ = gather(sweep.trials)
    heres = [common_settings(trials_of(sweep, one)) for one in series]
    theres = [reference.settings_of(curve) for curve in reference.curves]
    texts = []
    for here, there in itertools.product(heres, theres):
        keys = [key for key in _differences(here, there) if not key.startswith(TRAINING)]
        texts.append([f"{key} is {here.get(key, 'not set')} instead of {there[key]}" for key in keys])
    nearest = min(texts, key=len, default=["it has no trials"])
    more = len(nearest) - MOST_DIFFERENCES
    return "; ".join([*nearest[:MOST_DIFFERENCES], *([f"{more} more"] if more > 0 else [])])


def _other_measure(points: Sequence[Point], reference: Reference) -> str:
    stated = (reference.distortion_unit, reference.split, reference.examples)
    for point in points:
        measured = (point.distortion_unit, point.split, point.examples)
        if measured != stated:
            return (
                f"the sweep was measured in {measured[0]} on {measured[2]:,} examples of the {measured[1]} split, the "
                f"reference in {stated[0]} on {stated[2]:,} of the {stated[1]} split; measure it as the reference was, "
                "with `mrvae-orch evaluate` or the spec's evaluation"
            )
    return ""


def _at_scale(scale: str | None) -> str:
    return f"scaled by {scale!r}" if scale else "in full"
