"""The status of a sweep: the states of its trials, and what its attempts have cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evaluation.operating_points import to_json
from orchestrator.costs.history import spending_of
from orchestrator.sweeps.status import count_states, read_statuses
from orchestrator.sweeps.sweep import load_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.costs.spending import Spending
    from orchestrator.planning.plan import PlannedTrial
    from orchestrator.sweeps.status import TrialStatus
    from orchestrator.sweeps.sweep import Sweep
    from workers.store.store import Store

MOST_COSTS_READ = 2000
"""Sweeps with more trials are shown without costs: each trial has its own file of them, and reading takes too long."""


@dataclass(frozen=True)
class SweepStatus:
    """A sweep, and by trial_id the status and the costs of each trial; `spending` is empty for a very large sweep."""

    sweep: Sweep
    statuses: Mapping[str, TrialStatus]
    spending: Mapping[str, Spending]

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        return count_states(self.statuses.values())

    def to_json(self) -> dict[str, Any]:
        """Return the status as plain JSON values."""
        return {
            "sweep": self.sweep.name,
            "counts": self.counts,
            "costs": self._costs_json() if self.spending else None,
            "trials": [self._trial_json(each) for each in self.sweep.plan.trials],
        }

    def _trial_json(self, planned: PlannedTrial) -> dict[str, Any]:
        status, costs = self.statuses[planned.trial_id], self.spending.get(planned.trial_id)
        return {
            "trial_id": planned.trial_id,
            "method": planned.trial.method.kind,
            "betas": list(map(to_json, planned.trial.method.trained_betas)),
            "seed": planned.trial.seed,
            "state": status.state,
            "message": status.message,
            "attempts": status.attempts,
            "epoch": status.epoch,
            "epochs": status.epochs,
            "elbo": status.elbo,
            "costs": [asdict(attempt) for attempt in costs.attempts] if costs else None,
            "lost_device_seconds": {"GPU": costs.lost[True], "CPU": costs.lost[False]} if costs else None,
            "failed_metrics": [asdict(failed) for failed in status.failed_metrics],
        }

    def _costs_json(self) -> dict[str, Any]:
        spent = self.spending.values()
        outcomes = Counter(attempt.outcome for each in spent for attempt in each.attempts)
        return {
            "attempts": outcomes.total(),
            "outcomes": dict(sorted(outcomes.items())),
            "device_hours": {
                name: {
                    "used": sum(each.used[on_gpu] for each in spent) / 3600,
                    "lost": sum(each.lost[on_gpu] for each in spent) / 3600,
                }
                for name, on_gpu in (("GPU", True), ("CPU", False))
            },
        }


def read_sweep_status(store: Store, name: str) -> SweepStatus:
    """Return the status of a sweep. Raises SweepError where the store has none of that name."""
    sweep = load_sweep(store, name)
    statuses = read_statuses(store, sweep.plan.trials, name)
    read = statuses.values() if len(statuses) <= MOST_COSTS_READ else ()
    return SweepStatus(sweep, statuses, {each.trial_id: spending_of(store, each) for each in read})
