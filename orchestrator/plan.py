"""A spec as the trials that it asks for. Pure: nothing is read or written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.grid import settings
from workers.trial import Along, Evaluation, Method, MultiRateVAE, Resources, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.grid import Assignment, Setting
    from orchestrator.spec import SweepSpec
    from orchestrator.spec_methods import MethodSection

SWEEP, SELECTION = "sweep", "selection"


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with all that its sweep says of it: what to measure, what it holds, which curve it is part of.

    `series` is the label of its curve; `assignment` the values that the grid gave it, by dotted path. `stage` is
    "sweep", or "selection" for a trial that only serves to choose a learning rate. `along` is what is measured
    while it trains.
    """

    trial: Trial
    trial_id: str
    evaluation: Evaluation
    resources: Resources
    series: str
    assignment: Assignment
    stage: str = SWEEP
    along: Along | None = None


@dataclass(frozen=True)
class Candidate:
    """One learning rate that a method may get, with the trials that try it, one a seed."""

    learning_rate: float
    trials: tuple[PlannedTrial, ...]


@dataclass(frozen=True)
class Choice:
    """The choice of the learning rate of one curve, among these; `chosen` is None as long as it is not made."""

    series: str
    candidates: tuple[Candidate, ...]
    chosen: float | None


Chooser = Callable[[Sequence[Candidate]], float | None]
"""Returns the learning rate that is best of some candidates, None where that is not known yet."""


@dataclass(frozen=True)
class Plan:
    """Every trial of a sweep once: those that choose learning rates, then those of the spec in its order.

    That is: grid, then methods and their β, then seeds. `waiting` are trials that cannot run yet because their
    learning rate is not chosen; they stand there, at some rate, for what they will cost.
    """

    name: str
    spec: SweepSpec
    trials: tuple[PlannedTrial, ...]
    choices: tuple[Choice, ...] = ()
    waiting: tuple[PlannedTrial, ...] = ()


def _nothing_is_known(_candidates: Sequence[Candidate]) -> None:
    return None


def plan(spec: SweepSpec, choose: Chooser = _nothing_is_known) -> Plan:
    """Return the trials of a sweep; a trial that two methods have in common has the first one's label."""
    families = [_family(spec, section) for section in spec.methods]
    choices: list[Choice] = []
    trials: list[PlannedTrial] = []
    waiting: list[PlannedTrial] = []
    for setting in settings(spec):
        for family in families:
            own_setting = setting
            choice = _choice(spec, setting, family, choose)
            if choice is not None:
                choices.append(choice)
                rate = choice.chosen or choice.candidates[0].learning_rate
                own_setting = replace(setting, training=replace(setting.training, learning_rate=rate))
            decided = choice is None or choice.chosen is not None
            (trials if decided else waiting).extend(_planned_trials(spec, own_setting, family))
    # A trial that wins is one of the sweep's as well, and stands there; the others come first.
    of_sweep = {trial.trial_id for trial in trials}
    tried = [trial for choice in choices for candidate in choice.candidates for trial in candidate.trials]
    every = [*(trial for trial in tried if trial.trial_id not in of_sweep), *trials]
    return Plan(spec.name, spec, _once(every), tuple(choices), _once(waiting))


def _once(trials: Iterable[PlannedTrial]) -> tuple[PlannedTrial, ...]:
    planned: dict[str, PlannedTrial] = {}
    for trial in trials:
        planned.setdefault(trial.trial_id, trial)
    return tuple(planned.values())


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
    along: Along | None


def _family(spec: SweepSpec, section: MethodSection) -> _Family:
    """Return a method's trials with a label that tells it apart from the spec's others, and says no more."""
    twins = [other for other in spec.methods if other.label() == section.label()]
    told_by_extent = any(other.extent() != section.extent() for other in twins)
    told_by_training = any(other.overrides() != section.overrides() for other in twins)
    overrides = section.overrides()
    members = tuple((method, spec.evaluation.for_method(method)) for method in section.methods())
    (first, evaluation), *_ = members
    return _Family(
        members=members,
        overrides=overrides,
        label=f"{section.label()}, {section.extent()}" if told_by_extent else section.label(),
        own=tuple((f"training.{field}", value) for field, value in overrides.items()) if told_by_training else (),
        # As the sweep measures it, for a trial too that first serves to choose a learning rate.
        along=Along(spec.evaluation.along, evaluation) if isinstance(first, MultiRateVAE) else None,
    )


def _choice(spec: SweepSpec, setting: Setting, family: _Family, choose: Chooser) -> Choice | None:
    """Return the choice of a family's learning rate, or None where it has one already."""
    selection = spec.selection
    if selection is None or "learning_rate" in family.overrides:
        return None
    # What a family chooses by is one of its own methods, or a β-VAE made from one of them.
    method = selection.method(family.members[0][0])
    chooser = replace(family, members=((method, selection.evaluation().for_method(method)),))
    candidates = []
    for rate in selection.learning_rates:
        own_setting = replace(
            setting,
            training=replace(setting.training, learning_rate=rate),
            assignment=(*setting.assignment, ("training.learning_rate", rate)),
        )
        trials = _planned_trials(spec, own_setting, chooser, seeds=selection.seeds, stage=SELECTION)
        candidates.append(Candidate(rate, tuple(trials)))
    return Choice(_series(setting, family), tuple(candidates), choose(candidates))


def _series(setting: Setting, family: _Family) -> str:
    overridden = {f"training.{field}" for field in family.overrides}
    values = describe((*family.own, *(pair for pair in setting.assignment if pair[0] not in overridden)))
    return f"{family.label} · {values}" if values else family.label


def _planned_trials(
    spec: SweepSpec,
    setting: Setting,
    family: _Family,
    *,
    seeds: Sequence[int] | None = None,
    stage: str = SWEEP,
) -> Iterator[PlannedTrial]:
    training = replace(setting.training, **family.overrides)
    overridden = {f"training.{field}" for field in family.overrides}
    assignment = tuple(pair for pair in setting.assignment if pair[0] not in overridden)
    series = _series(setting, family)
    resources = spec.resources.for_training(training)
    for method, evaluation in family.members:
        for seed in seeds or spec.seeds:
            trial = Trial(setting.dataset, setting.architecture, setting.objective, method, training, seed)
            yield PlannedTrial(trial, trial.trial_id, evaluation, resources, series, assignment, stage, family.along)
