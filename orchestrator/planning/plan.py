"""A spec as the trials that it asks for. Pure: nothing is read or written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.spec.grid import settings
from workers.numerics import NUMERICS
from workers.trial import BetaVAE, Evaluation, IntermediateEvaluation, Method, MultiRateVAE, Resources, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.spec.grid import Assignment, Setting
    from orchestrator.spec.methods import MethodSection
    from orchestrator.spec.model import SweepSpec
    from workers.data.dataset import Dataset

SWEEP, SELECTION = "sweep", "selection"


@dataclass(frozen=True)
class PlannedTrial:
    """A trial in a sweep, with its evaluation, its resources and its curve.

    `trial_id` is the id of its folder: of a trial that an earlier release planned, the id which that one gave it.
    `series` is the label of its curve. `stage` is "sweep", or "selection" for a trial that only serves to choose a
    learning rate.
    """

    trial: Trial
    trial_id: str
    evaluation: Evaluation
    resources: Resources
    series: str
    stage: str = SWEEP
    intermediate_evaluation: IntermediateEvaluation | None = None


@dataclass(frozen=True)
class LearningRateCandidate:
    """One learning rate that a method may get, with the trials that test it, one for each seed."""

    learning_rate: float
    trials: tuple[PlannedTrial, ...]


@dataclass(frozen=True)
class LearningRateChoice:
    """The choice of the learning rate of one curve from its candidates; `chosen` is None until it is made."""

    series: str
    candidates: tuple[LearningRateCandidate, ...]
    chosen: float | None


Chooser = Callable[[Sequence[LearningRateCandidate]], float | None]
"""Returns the best learning rate of some candidates, None if it is not known yet."""


@dataclass(frozen=True)
class Plan:
    """Every trial of a sweep once: those that choose learning rates, then those of the spec in its order.

    That order is: grid, methods and their β values, seeds. `waiting` are trials that cannot run before their learning
    rate is chosen; they have the first candidate's, so that their cost can be estimated. `contents` has the datasets of
    the spec that name no content of their files, each with the one of the trials, which does.
    """

    name: str
    spec: SweepSpec
    trials: tuple[PlannedTrial, ...]
    choices: tuple[LearningRateChoice, ...] = ()
    waiting: tuple[PlannedTrial, ...] = ()
    contents: tuple[tuple[Dataset, Dataset], ...] = ()

    @property
    def numerics(self) -> int:
        """The version of the numbers that its trials were planned with."""
        return (self.trials or self.waiting)[0].trial.numerics


def _nothing_is_known(_candidates: Sequence[LearningRateCandidate]) -> None:
    return None


def _as_it_is(dataset: Dataset) -> Dataset:
    return dataset


def plan(
    spec: SweepSpec,
    choose: Chooser = _nothing_is_known,
    with_content: Callable[[Dataset], Dataset] = _as_it_is,
    numerics: int = NUMERICS,
    *,
    at_sweep_betas: bool = True,
) -> Plan:
    """Return the trials of a sweep; a trial that two methods have in common has the first one's label.

    `with_content` returns a dataset that names the content of the user's files. `numerics` is the version of the
    release whose trials these are. A Multi-Rate VAE is also evaluated at the β values of the β-VAEs; with
    `at_sweep_betas` false, only as the spec says, as in earlier releases.
    """
    sweep_betas = _sweep_betas(spec) if at_sweep_betas else ()
    families = [_family(spec, section, sweep_betas) for section in spec.methods]
    choices: list[LearningRateChoice] = []
    trials: list[PlannedTrial] = []
    waiting: list[PlannedTrial] = []
    contents: dict[Dataset, Dataset] = {}
    for planned in settings(spec):
        if planned.dataset not in contents:
            contents[planned.dataset] = with_content(planned.dataset)
        setting = replace(planned, dataset=contents[planned.dataset], numerics=numerics)
        for family in families:
            own_setting = setting
            choice = _learning_rate_choice(spec, setting, family, choose)
            if choice is not None:
                choices.append(choice)
                rate = choice.chosen or choice.candidates[0].learning_rate
                own_setting = replace(setting, training=replace(setting.training, learning_rate=rate))
            decided = choice is None or choice.chosen is not None
            (trials if decided else waiting).extend(_planned_trials(spec, own_setting, family))
    # A trial of the chosen rate is listed among the sweep's own; the other candidates' trials come first.
    of_sweep = {trial.trial_id for trial in trials}
    tried = [trial for choice in choices for candidate in choice.candidates for trial in candidate.trials]
    every = [*(trial for trial in tried if trial.trial_id not in of_sweep), *trials]
    changed = tuple((dataset, known) for dataset, known in contents.items() if known != dataset)
    return Plan(spec.name, spec, _once(every), tuple(choices), _once(waiting), changed)


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
    intermediate_evaluation: IntermediateEvaluation | None


def _sweep_betas(spec: SweepSpec) -> tuple[float, ...]:
    methods = [method for section in spec.methods for method in section.methods()]
    return tuple(dict.fromkeys(method.beta for method in methods if isinstance(method, BetaVAE)))


def _family(spec: SweepSpec, section: MethodSection, sweep_betas: Sequence[float]) -> _Family:
    """Return a method's trials with the shortest label that distinguishes it from the spec's other methods."""
    twins = [other for other in spec.methods if other.label() == section.label()]
    differs_by_extent = any(other.extent() != section.extent() for other in twins)
    differs_by_training = any(other.overrides() != section.overrides() for other in twins)
    overrides = section.overrides()
    members = tuple((method, spec.evaluation.for_method(method, sweep_betas)) for method in section.methods())
    (first, evaluation), *_ = members
    return _Family(
        members=members,
        overrides=overrides,
        label=f"{section.label()}, {section.extent()}" if differs_by_extent else section.label(),
        own=tuple((f"training.{field}", value) for field, value in overrides.items()) if differs_by_training else (),
        # The sweep's evaluation, also for a trial that first serves to choose a learning rate.
        intermediate_evaluation=IntermediateEvaluation(spec.evaluation.intermediate, evaluation)
        if isinstance(first, MultiRateVAE)
        else None,
    )


def _learning_rate_choice(
    spec: SweepSpec, setting: Setting, family: _Family, choose: Chooser
) -> LearningRateChoice | None:
    """Return the choice of a family's learning rate, or None if it is given."""
    selection = spec.selection
    if selection is None or "learning_rate" in family.overrides:
        return None
    # The rate is chosen with the family's first method, or with a β-VAE made from it.
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
        candidates.append(LearningRateCandidate(rate, tuple(trials)))
    return LearningRateChoice(_series(setting, family), tuple(candidates), choose(candidates))


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
    series = _series(setting, family)
    resources = spec.resources.for_training(training)
    numerics = setting.numerics
    for method, wanted in family.members:
        evaluation = wanted if wanted.numerics == numerics else replace(wanted, numerics=numerics)
        for seed in seeds or spec.seeds:
            trial = Trial(setting.dataset, setting.architecture, setting.objective, method, training, seed, numerics)
            yield PlannedTrial(
                trial, trial.trial_id, evaluation, resources, series, stage, family.intermediate_evaluation
            )
