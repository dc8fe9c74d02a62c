"""Forecast of a sweep: what is left of it, its cost and its duration. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.costs.budget import hours, hours_of
from orchestrator.planning.plan import launch_order
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.planning.plan import Plan, PlannedTrial
    from orchestrator.sweeps.status import TrialStatus


@dataclass(frozen=True)
class Forecast:
    """What is left of a sweep. All costs are in device-seconds: of GPUs if trials hold any, else of CPU cores.

    `done` trials are in the store, whichever sweep trained them; `to_evaluate` trials lack this sweep's evaluation.
    `sources` say what the estimates are based on. `used` is the cost of all attempts at its trials.
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
        """By how much the budget would be exceeded; 0 if it is sufficient or there is none."""
        return 0.0 if self.limit is None else max(0.0, self.used + self.left - self.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as plain JSON values, in device-hours."""
        budget = None
        if self.limit is not None:
            spans = {"device_hours": self.limit, "used": self.used, "passed_by": self.passed_by}
            budget = {name: seconds / 3600 for name, seconds in spans.items()}
        return {
            "device": "GPU" if self.on_gpu else "CPU",
            "device_hours": self.left / 3600,
            "from_the_store": {"done": self.done, "to_evaluate": self.to_evaluate},
            "budget": budget,
        }

    def describe_store(self) -> str:
        """Return what the store has already, empty if nothing."""
        parts = [f"{self.done:,} done, reused as they are"] if self.done else []
        parts += [f"{self.to_evaluate:,} trained, only to be evaluated"] if self.to_evaluate else []
        return f"From the store: {'; '.join(parts)}." if parts else ""

    def describe_budget(self) -> str:
        """Return whether the budget is sufficient, empty if there is none."""
        if self.limit is None:
            return ""
        line = f"Budget: {hours(self.limit, on_gpu=self.on_gpu)}, {hours_of(self.used)} used by all attempts so far"
        if not self.passed_by:
            return f"{line}; sufficient."
        return f"{line}; short by about {hours_of(self.passed_by)}: some trials would not start."


def forecast(
    planned: Plan, statuses: Mapping[str, TrialStatus], left: Mapping[str, float], sources: Sequence[str], used: float
) -> Forecast:
    """Return what is left of a sweep, given the device-seconds that are `left` of each trial by its id."""
    states = [statuses[each.trial_id].state for each in planned.trials]
    budget = planned.spec.budget
    return Forecast(
        on_gpu=planned.spec.resources.gpus > 0,
        done=states.count(TrialState.DONE),
        to_evaluate=states.count(TrialState.TRAINED),
        left=sum(left.values()),
        sources=tuple(sources),
        limit=None if budget is None else 3600 * budget.device_hours,
        used=used,
    )


def seconds_on(planned: Plan, left: Mapping[str, float], devices: float) -> float | None:
    """Return about how long what is left takes on this many GPUs, or CPU cores if trials hold no GPU.

    As if all were on one machine without other sweeps. None if a trial needs more.
    """
    stages = [_stage(trials, left, devices) for trials in (planned.trials, planned.waiting)]
    lengths = [length for length in stages if length is not None]
    return sum(lengths) if len(lengths) == len(stages) else None


def _stage(trials: Sequence[PlannedTrial], left: Mapping[str, float], devices: float) -> float | None:
    to_run = [each for each in launch_order(trials, left) if left[each.trial_id] > 0]
    if not to_run:
        return 0.0
    slots = int(devices / max(_reserved(each) for each in to_run) + 1e-9)
    if slots < 1:
        return None
    ends = [0.0] * min(slots, len(to_run))
    for each in to_run:
        heapq.heapreplace(ends, ends[0] + left[each.trial_id] / each.resources.device_count(each.trial.training))
    return max(ends)


def _reserved(planned: PlannedTrial) -> float:
    """Return the GPUs that no other trial can use meanwhile, or the CPUs if it has none: more than it has threads."""
    resources = planned.resources
    return resources.ranks * (resources.gpus or resources.cpus)
