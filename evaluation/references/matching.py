"""Matching of a sweep's curves with a reference's, by the settings of their trials and not by their names."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.content.series import gather
from evaluation.report.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evaluation.records import Point
    from evaluation.references.reference import Reference, ReferenceCurve
    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Series

NOT_COMPARED = frozenset({"numerics", "seed", "method.beta", "training.threads"})
"""Settings that differ within a curve, or that a comparison is meant to span."""
TRAINING = "training."
"""Settings of training may differ from the reference's: they are reported, not refused."""
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
        """The name of the comparison: both names where they differ."""
        same = self.series.name == self.curve.name
        return self.series.name if same else f"{self.series.name} against {self.curve.name}"

    @property
    def differences(self) -> tuple[str, ...]:
        """The settings that differ; all are of training."""
        return tuple(_differences(self.here, self.there))

    @property
    def subject(self) -> dict[str, str]:
        """The settings of the data, the network and the objective."""
        return {key: value for key, value in self.there.items() if not key.startswith((TRAINING, "method."))}


def match(sweep: SweepRecord, reference: Reference) -> tuple[MatchedCurve, ...]:
    """Return the curves that can be compared, in the reference's order.

    If several curves of a reference differ only in training, each is matched with the series of the same training, if
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
    """Whether trials have every setting of a reference's curve, except those of training."""
    return all(key.startswith(TRAINING) for key in _differences(here, there))


def common_settings(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Return the settings that are the same in all trials, except those that are not compared."""
    first, *others = [trial.settings or {} for trial in trials]
    return {
        key: value
        for key, value in first.items()
        if key not in NOT_COMPARED and all(other.get(key) == value for other in others)
    }


def trials_of(sweep: SweepRecord, series: Series) -> tuple[TrialRecord, ...]:
    """Return the trials of one series."""
    return tuple(trial for trial in sweep.trials if trial.series == series.name)


def incomparable_reason(sweep: SweepRecord, reference: Reference, matched: Sequence[MatchedCurve]) -> str:
    """Return why a sweep cannot be compared with a reference, and the next step; empty where it can."""
    at = sweep.scaled.by if sweep.scaled else None
    if at != reference.scaled:
        return f"the sweep is {_at_scale(at)} and the reference {_at_scale(reference.scaled)}: their sizes differ"
    if sweep.waiting:
        waiting = counted(sweep.waiting, "trial")
        return f"{waiting} still waiting for the choice of a learning rate; submit the sweep again first"
    if not matched:
        return (
            f"the settings of the sweep differ: {_nearest_differences(sweep, reference)}; "
            "`mrvae-orch check --list` shows the references"
        )
    points = [point for pair in matched for trial in trials_of(sweep, pair.series) for point in trial.points]
    if not points:
        return "none of the comparable trials is done; submit the sweep again first"
    return _other_measure(points, reference)


def notes(sweep: SweepRecord, reference: Reference, matched: Sequence[MatchedCurve]) -> Iterator[str]:
    """Yield remarks on the results: curves that are left out, differences in training, caveats."""
    own = reference.trial_ids & {trial.trial_id for trial in sweep.trials}
    if own:
        yield f"{counted(len(own), 'trial')} of the sweep belong to the reference: these agree by definition"
    compared = {pair.series.name for pair in matched}
    series = dict.fromkeys(trial.series for trial in sweep.trials)
    yield from (f"not in the reference: {name}" for name in series if name not in compared)
    found = {pair.curve.name for pair in matched}
    yield from (f"not in the sweep: {curve.name}" for curve in reference.curves if curve.name not in found)
    yield from _trained_differently(matched)
    yield from reference.caveats


def _trained_differently(matched: Sequence[MatchedCurve]) -> Iterator[str]:
    where: dict[str, list[str]] = {}
    for pair in matched:
        for key in pair.differences:
            text = f"{key} is {pair.here.get(key, 'not the same in all trials')}, in the reference {pair.there[key]}"
            where.setdefault(text, []).append(pair.name)
    yield from (f"trained differently: {text} ({'; '.join(names)})" for text, names in where.items())


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
                f"reference in {stated[0]} on {stated[2]:,} of the {stated[1]} split; evaluate it as the reference, "
                "with `mrvae-orch evaluate` or the spec's evaluation"
            )
    return ""


def _at_scale(scale: str | None) -> str:
    return f"scaled by {scale!r}" if scale else "in full"
