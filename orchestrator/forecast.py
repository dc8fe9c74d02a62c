"""What is left of a sweep, what it should cost and how long it may take: all that planning can know. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.budget import hours, hours_of
from orchestrator.ledger import DONE, TRAINED
from orchestrator.plan import launch_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.ledger import TrialStatus
    from orchestrator.plan import Plan, PlannedTrial


@dataclass(frozen=True)
class Forecast:
    """What is left of a sweep. All costs are in device-seconds: of GPUs where trials hold any, else of CPU cores.

    `done` trials are in the store already, whichever sweep trained them; `to_evaluate` are there, and lack what this
    sweep measures. `sources` say what the costs are known from. `used` is what all attempts at its trials have cost.
    """

    on_gpu: bool
    done: int
    to_evaluate: int
    left: float
    sources: tuple[str, ...]
    limit: float | None
    used: float

    @property
    def passed_by(self) -> float:
        """By how much the budget would be passed; 0 where it is enough, or where there is none."""
        return 0.0 if self.limit is None else max(0.0, self.used + self.left - self.limit)

    def describe_store(self) -> str:
        """Return what the store has already, empty where that is nothing."""
        parts = [f"{self.done:,} done, to be taken as they are"] if self.done else []
        parts += [f"{self.to_evaluate:,} trained, to be evaluated only"] if self.to_evaluate else []
        return f"From the store: {'; '.join(parts)}." if parts else ""

    def describe_budget(self) -> str:
        """Return whether the budget is enough, empty where there is none."""
        if self.limit is None:
            return ""
        line = f"Budget: {hours(self.limit, on_gpu=self.on_gpu)}, {hours_of(self.used)} used by all attempts so far"
        if not self.passed_by:
            return f"{line}; it should do."
        return f"{line}; about {hours_of(self.passed_by)} too little, so that some trials would not start."


def forecast(
    planned: Plan, ledger: Mapping[str, TrialStatus], left: Mapping[str, float], sources: Sequence[str], used: float
) -> Forecast:
    """Return what is left of a sweep, given the device-seconds that are `left` of each trial by its id."""
    states = [ledger[each.trial_id].state for each in planned.trials]
    budget = planned.spec.budget
    return Forecast(
        on_gpu=planned.spec.resources.gpus > 0,
        done=states.count(DONE),
        to_evaluate=states.count(TRAINED),
        left=sum(left.values()),
        sources=tuple(sources),
        limit=None if budget is None else 3600 * budget.device_hours,
        used=used,
    )


def seconds_on(planned: Plan, left: Mapping[str, float], devices: float) -> float | None:
    """Return about how long what is left takes with so many GPUs, or CPU cores where trials hold no GPU.

    As if they were on one machine that the sweep has for itself, each trial on as many as it holds. None where one
    trial holds more.
    """
    stages = [_stage(trials, left, devices) for trials in (planned.trials, planned.waiting)]
    lengths = [length for length in stages if length is not None]
    return sum(lengths) if len(lengths) == len(stages) else None


def _stage(trials: Sequence[PlannedTrial], left: Mapping[str, float], devices: float) -> float | None:
    to_run = [each for each in launch_order(trials, left) if left[each.trial_id] > 0]
    if not to_run:
        return 0.0
    places = int(devices / max(_held(each) for each in to_run) + 1e-9)
    if places < 1:
        return None
    ends = [0.0] * min(places, len(to_run))
    for each in to_run:
        heapq.heapreplace(ends, ends[0] + left[each.trial_id] / _busy(each))
    return max(ends)


def _held(planned: PlannedTrial) -> float:
    """Return how many devices a trial holds."""
    resources = planned.resources
    return resources.ranks * (resources.gpus or resources.cpus)


def _busy(planned: PlannedTrial) -> float:
    """Return how many devices a trial's cost counts: of the cores that it holds, those that it has threads for."""
    resources = planned.resources
    return resources.ranks * (resources.gpus or planned.trial.training.threads)
