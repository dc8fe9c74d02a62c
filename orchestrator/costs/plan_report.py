"""A plan with what the store knows of it: the states of its trials, and what the rest should cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.operating_points import to_json
from evaluation.report.formatting import duration
from orchestrator.costs.budget import hours
from orchestrator.costs.forecast import Forecast, forecast, seconds_on
from orchestrator.costs.history import estimate_trials, expected_left, used_by
from orchestrator.spec.scales import changes_of
from orchestrator.sweeps.resubmission import content_reader, earlier_sweep, unusable_results
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.status import count_states, read_statuses
from workers.data.own.files import OwnFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.planning.estimate import Estimate
    from orchestrator.planning.plan import Plan, PlannedTrial
    from orchestrator.spec.model import SweepSpec
    from orchestrator.sweeps.status import TrialStatus
    from workers.store.store import Store


@dataclass(frozen=True)
class PlanReport:
    """A plan, and by trial_id the status, the estimated cost and the device-seconds that are `left` of each trial.

    `unusable` says which results of the sweep the plan cannot use, and why; empty if none.
    """

    plan: Plan
    statuses: Mapping[str, TrialStatus]
    estimates: Mapping[str, Estimate]
    left: Mapping[str, float]
    forecast: Forecast
    unusable: str = ""

    @property
    def unread(self) -> list[str]:
        """The datasets of the user's own files whose content is not known."""
        datasets = {each.trial.dataset for each in (*self.plan.trials, *self.plan.waiting)}
        return sorted({each.name for each in datasets if isinstance(each, OwnFiles) and not each.content_hashes})

    def seconds_on(self, devices: float) -> float | None:
        """Return the approximate duration of the rest on a number of devices; None if a trial needs more."""
        return seconds_on(self.plan, self.left, devices)

    def summary(self, devices: float | None = None) -> Iterator[str]:
        """Yield lines about the trials, their cost, the budget and, given `devices`, the duration."""
        yield self._counts()
        if self.unusable:
            yield f"{self.unusable[0].upper()}{self.unusable[1:]}; submit needs --retrain, or another name."
        for name in self.unread:
            yield f"The files of {name!r} are not in the data folder: with them, the trials get other ids."
        coming = self.forecast
        if not coming.left:
            yield "Nothing to run."
        else:
            device = "GPU" if coming.on_gpu else "CPU-core"
            yield (
                f"To run: about {duration(coming.left)} of {device} time, {hours(coming.left, on_gpu=coming.on_gpu)} "
                f"({'; '.join(coming.sources)})."
            )
        if budget := coming.describe_budget():
            yield budget
        if devices is not None and coming.left:
            yield self._time_on(devices)

    def to_json(self, devices: float | None = None) -> dict[str, Any]:
        """Return the report as plain JSON values, with the seconds on `devices` devices."""
        planned, spec = self.plan, self.plan.spec
        return {
            "sweep": planned.name,
            "scaled": {
                "by": spec.scaled.by if spec.scaled else None,
                "changes": [{"key": each.key, "from": each.full, "to": each.scaled} for each in changes_of(spec)],
            },
            "cost": {**self.forecast.to_json(), "seconds": None if devices is None else self.seconds_on(devices)},
            "choices": [
                {
                    "curve": choice.series,
                    "learning_rates": [candidate.learning_rate for candidate in choice.candidates],
                    "chosen": choice.chosen,
                }
                for choice in planned.choices
            ],
            "waiting": {
                "trials": len(planned.waiting),
                "device_seconds": sum(self.left[each.trial_id] for each in planned.waiting),
            },
            "trials": [self._trial_json(each) for each in planned.trials],
            "unusable": self.unusable,
        }

    def _counts(self) -> str:
        planned = self.plan
        states = (self.statuses[each.trial_id] for each in planned.trials)
        counts = ", ".join(f"{count:,} {state}" for state, count in count_states(states).items())
        parts = [f"{len(planned.trials):,} trials: {counts}."]
        if planned.waiting:
            parts.append(f"{len(planned.waiting):,} more follow when their learning rates are chosen.")
        return " ".join(filter(None, [*parts, self.forecast.describe_store()]))

    def _time_on(self, devices: float) -> str:
        many = f"{devices:g} {'GPU' if self.forecast.on_gpu else 'CPU core'}{'' if devices == 1 else 's'}"
        seconds = self.seconds_on(devices)
        if seconds is None:
            return f"With {many} no trial can start: each needs more."
        return f"With {many} for this sweep alone: about {duration(seconds)}."

    def _trial_json(self, planned: PlannedTrial) -> dict[str, Any]:
        estimate = self.estimates[planned.trial_id]
        return {
            "trial_id": planned.trial_id,
            "method": planned.trial.method.kind,
            "betas": list(map(to_json, planned.trial.method.trained_betas)),
            "seed": planned.trial.seed,
            "curve": planned.series,
            "stage": planned.stage,
            "parameters": {key: value for key, value in planned.trial.to_json().items() if key != "seed"},
            "eval_id": planned.evaluation.eval_id,
            "evaluated_betas": list(planned.evaluation.betas),
            "state": self.statuses[planned.trial_id].state,
            "device_seconds": estimate.device_seconds,
            "device_seconds_left": self.left[planned.trial_id],
            "estimate": estimate.source,
        }


def examine(spec: SweepSpec, store: Store, data_root: Path) -> PlanReport:
    """Return the plan of a spec with what the store knows of it.

    Raises StoreError where the store cannot be read, DataError where a file of the user's data cannot.
    """
    earlier = earlier_sweep(store, spec.name)
    planned = resolve(spec, store, content_reader(data_root, earlier.plan.contents if earlier else ()))
    every = [*planned.trials, *planned.waiting]
    statuses = read_statuses(store, every, planned.name)
    estimates = estimate_trials(store, every, statuses)
    left = {each.trial_id: expected_left(estimates, each, statuses[each.trial_id]) for each in every}
    sources = sorted({estimates[trial_id].source for trial_id, seconds in left.items() if seconds})
    used = used_by(store, planned) if spec.budget else 0.0
    unusable = unusable_results(store, earlier, planned) if earlier else ""
    known = forecast(planned, statuses, left, sources, used)
    return PlanReport(planned, statuses, estimates, left, known, unusable)
