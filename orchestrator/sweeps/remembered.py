"""The plan of a sweep as its folder has it: results stay readable under the ids that they were stored with.

A later release, or another version of a plug-in, may give the same spec other ids. The file has each value that trials
have in common once, in `parts`, and its place there in each trial.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SweepError
from orchestrator.planning.plan import LearningRateCandidate, LearningRateChoice, Plan, PlannedTrial
from workers.data import registry as datasets
from workers.trial import TRIAL_PARTS, Evaluation, IntermediateEvaluation, Resources, Trial, part_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.spec.model import SweepSpec
    from workers.data.dataset import Dataset


def to_record(planned: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON values, without its spec."""
    parts = _Parts()
    return {
        "trials": list(map(parts.trial, planned.trials)),
        "waiting": list(map(parts.trial, planned.waiting)),
        "choices": [
            {
                "series": choice.series,
                "chosen": choice.chosen,
                "candidates": [
                    {"learning_rate": each.learning_rate, "trials": list(map(parts.trial, each.trials))}
                    for each in choice.candidates
                ],
            }
            for choice in planned.choices
        ],
        "contents": [[part_record("dataset", dataset) for dataset in pair] for pair in planned.contents],
        "parts": parts.records,
    }


def from_record(record: Mapping[str, Any], spec: SweepSpec, source: str) -> Plan:
    """Return the plan of a record. Raises SweepError where this release, or a plug-in, lacks an option of a trial."""
    try:
        reader = _Reader(record["parts"])
        choices = tuple(
            LearningRateChoice(
                choice["series"],
                tuple(
                    LearningRateCandidate(each["learning_rate"], tuple(map(reader.trial, each["trials"])))
                    for each in choice["candidates"]
                ),
                choice["chosen"],
            )
            for choice in record["choices"]
        )
        trials, waiting = (tuple(map(reader.trial, record[key])) for key in ("trials", "waiting"))
        _check_any(trials or waiting)
        return Plan(spec.name, spec, trials, choices, waiting, contents=contents_of(record))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SweepError(
            f"{source}: a trial of the sweep cannot be read by this release ({error}); read it with the release and "
            "the plug-ins that it was submitted with, or submit the sweep under another name"
        ) from error


def _check_any(trials: tuple[PlannedTrial, ...]) -> None:
    if not trials:
        raise ValueError("there is none")


def contents_of(record: Mapping[str, Any]) -> tuple[tuple[Dataset, Dataset], ...]:
    """Return the datasets that name no content of their files, each with the one of the planned trials, which does."""
    pairs = (tuple(datasets.configure(**dataset) for dataset in pair) for pair in record["contents"])
    return tuple((named, known) for named, known in pairs)


@dataclass
class _Parts:
    """The values of trials, each once, in the order of their first use."""

    records: list[Any] = field(default_factory=list)
    places: dict[tuple[str, Any], int] = field(default_factory=dict)

    def trial(self, planned: PlannedTrial) -> dict[str, Any]:
        trial, intermediate = planned.trial, planned.intermediate_evaluation
        return {
            "trial_id": planned.trial_id,
            "eval_id": planned.evaluation.eval_id,
            "stage": planned.stage,
            "series": planned.series,
            "seed": trial.seed,
            "numerics": trial.numerics,
            **{name: self._place(name, getattr(trial, name), partial(part_record, name)) for name in TRIAL_PARTS},
            "evaluation": self._evaluation(planned.evaluation),
            "resources": self._place("resources", planned.resources, asdict),
            "intermediate": intermediate and [intermediate.times, self._evaluation(intermediate.evaluation)],
        }

    def _evaluation(self, evaluation: Evaluation) -> int:
        return self._place("evaluation", evaluation, Evaluation.to_json)

    def _place(self, kind: str, value: Any, to_json: Callable[[Any], Any]) -> int:
        place = self.places.get((kind, value))
        if place is None:
            place = self.places[kind, value] = len(self.records)
            self.records.append(to_json(value))
        return place


class _Reader:
    """Makes trials of rows; what trials have in common is made once."""

    def __init__(self, records: list[Any]) -> None:
        def maker(build: Callable[[Any], Any]) -> Callable[[int], Any]:
            return functools.cache(lambda place: build(records[place]))

        self._parts = {name: maker(build) for name, build in TRIAL_PARTS.items()}
        self._evaluation = maker(lambda record: Evaluation(**record))
        self._resources = maker(lambda record: Resources(**record))

    def trial(self, row: Mapping[str, Any]) -> PlannedTrial:
        parts = {name: part(row[name]) for name, part in self._parts.items()}
        intermediate = row["intermediate"]
        return PlannedTrial(
            trial=Trial(**parts, seed=row["seed"], numerics=row["numerics"]),
            trial_id=row["trial_id"],
            evaluation=self._evaluation(row["evaluation"]),
            resources=self._resources(row["resources"]),
            series=row["series"],
            stage=row["stage"],
            intermediate_evaluation=intermediate
            and IntermediateEvaluation(intermediate[0], self._evaluation(intermediate[1])),
        )
