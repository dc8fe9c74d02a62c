"""What trials in the store took: for estimates of the ones to come, and for budgets."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from orchestrator.budget import Budget
from orchestrator.estimate import Estimate, estimate_all, observe, share_left
from orchestrator.ledger import DONE
from workers.costs import read_costs
from workers.trial import Trial
from workers.trial_files import PROGRESS, TRIAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.ledger import TrialStatus
    from orchestrator.plan import Plan, PlannedTrial
    from workers.store import Store

MOST_OBSERVED = 50
"""So many trials tell enough; reading the costs of thousands would only make planning slow."""


def estimate_trials(
    store: Store, trials: Sequence[PlannedTrial], ledger: Mapping[str, TrialStatus]
) -> dict[str, Estimate]:
    """Return the expected cost of each trial by its id, from trials of this sweep, else from others in the store."""
    of_sweep = (planned for planned in trials if ledger[planned.trial_id].state == DONE)
    costs = ((planned.trial, read_costs(store.trial(planned.trial_id))) for planned in islice(of_sweep, MOST_OBSERVED))
    observed = [observe(trial, rows) for trial, rows in costs] or [
        observe(trial, read_costs(store.trial(trial.trial_id))) for trial in islice(_others(store), MOST_OBSERVED)
    ]
    return estimate_all(trials, [observation for observation in observed if observation is not None])


def expected_left(estimates: Mapping[str, Estimate], planned: PlannedTrial, status: TrialStatus) -> float:
    """Return the device-seconds that are expected of what is left of a trial; 0 where it has come to its end."""
    if status.finished:
        return 0.0
    share = share_left(planned, status.epoch, trained=status.manifest is not None)
    return estimates[planned.trial_id].device_seconds * share


def budget_of(store: Store, planned: Plan, estimates: Mapping[str, Estimate]) -> Budget | None:
    """Return the watch on a sweep's budget, or None where its spec has none; it reads the costs of all its trials."""
    if planned.spec.budget is None:
        return None

    def left(each: PlannedTrial) -> float:
        folder = store.trial(each.trial_id)
        progress = folder.read_json(PROGRESS) or {}
        return share_left(each, float(progress.get("epoch", 0.0)), trained=folder.manifest() is not None)

    return Budget(
        limit=3600 * planned.spec.budget.device_hours,
        trials=planned.trials,
        expected={trial_id: estimate.device_seconds for trial_id, estimate in estimates.items()},
        costs=lambda trial_id: read_costs(store.trial(trial_id)),
        share_left=left,
    )


def _others(store: Store) -> Iterator[Trial]:
    for path in (store.root / "trials").glob("*/manifest.json"):
        record = store.trial(path.parent.name).read_json(TRIAL)
        try:
            yield Trial.from_json(record)
        except (TypeError, KeyError, ValueError, AttributeError):
            continue  # of another release, or damaged: it tells nothing
