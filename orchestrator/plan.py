"""A spec as the trials that it asks for. Pure: nothing is read or written."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.grid import settings
from workers.trial import Evaluation, Method, MultiRateVAE, Resources, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.grid import Assignment, Setting
    from orchestrator.spec import MethodSection, SweepSpec


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with all that its sweep says of it: what to measure, what it holds, which curve it is part of.

    `series` is the label of its curve; `assignment` the values that the grid gave it, by dotted path.
    """

    trial: Trial
    trial_id: str
    evaluation: Evaluation
    resources: Resources
    series: str
    assignment: Assignment


@dataclass(frozen=True)
class Plan:
    """Every trial of a sweep once, in the order of the spec: grid, then methods and their β, then seeds."""

    name: str
    spec: SweepSpec
    trials: tuple[PlannedTrial, ...]


def plan(spec: SweepSpec) -> Plan:
    """Return the trials of a sweep; a trial that two methods have in common has the first one's label."""
    families = [_family(spec, section) for section in spec.methods]
    planned: dict[str, PlannedTrial] = {}
    for setting in settings(spec):
        for family in families:
            for trial in _planned_trials(spec, setting, family):
                planned.setdefault(trial.trial_id, trial)
    return Plan(spec.name, spec, tuple(planned.values()))


def launch_order(trials: Iterable[PlannedTrial], seconds: Mapping[str, float]) -> list[PlannedTrial]:
    """Return the trials as they should start: Multi-Rate VAEs, then the longest; ties stay in plan order.

    `seconds` has the expected seconds by trial_id; a trial that it lacks counts as 0.
    """

    def rank(planned: PlannedTrial) -> tuple[bool, float]:
        return not isinstance(planned.trial.method, MultiRateVAE), -seconds.get(planned.trial_id, 0.0)

    return sorted(trials, key=rank)


def describe(assignment: Assignment) -> str:
    """Return values as a label shows them, such as `learning_rate=0.001`; whole paths where names clash."""
    uses = Counter(path.split(".")[-1] for path, _ in assignment)
    names = {path: name if uses[name := path.split(".")[-1]] == 1 else path for path, _ in assignment}
    return ", ".join(f"{names[path]}={_shown(value)}" for path, value in assignment)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class _Family:
    """What one method of a spec trains anywhere on the grid."""

    members: tuple[tuple[Method, Evaluation], ...]
    overrides: Mapping[str, Any]
    label: str
    own: Assignment


def _family(spec: SweepSpec, section: MethodSection) -> _Family:
    """Return a method's trials with a label that tells it apart from the spec's others, and says no more."""
    twins = [other for other in spec.methods if other.label() == section.label()]
    told_by_extent = any(other.extent() != section.extent() for other in twins)
    told_by_training = any(other.overrides() != section.overrides() for other in twins)
    overrides = section.overrides()
    return _Family(
        members=tuple((method, spec.evaluation.for_method(method)) for method in section.methods()),
        overrides=overrides,
        label=f"{section.label()}, {section.extent()}" if told_by_extent else section.label(),
        own=tuple((f"training.{field}", value) for field, value in overrides.items()) if told_by_training else (),
    )


def _planned_trials(spec: SweepSpec, setting: Setting, family: _Family) -> Iterator[PlannedTrial]:
    training = replace(setting.training, **family.overrides)
    overridden = {f"training.{field}" for field in family.overrides}
    assignment = tuple(pair for pair in setting.assignment if pair[0] not in overridden)
    values = describe((*family.own, *assignment))
    series = f"{family.label} · {values}" if values else family.label
    resources = spec.resources.for_training(training)
    for method, evaluation in family.members:
        for seed in spec.seeds:
            trial = Trial(setting.dataset, setting.architecture, setting.objective, method, training, seed)
            yield PlannedTrial(trial, trial.trial_id, evaluation, resources, series, assignment)
