"""Costs of trials in the store, for estimates and budgets."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evaluation.records import HistoryRow, RecordError, from_parquet
from orchestrator.costs.budget import Budget, device_seconds
from orchestrator.costs.spending import Spending, spending
from orchestrator.planning.estimate import Estimate, estimate_all, observe, share_left
from workers.accounting.costs import read_costs
from workers.outcome import TrialState
from workers.store.layout import HISTORY, PROGRESS, TRIAL
from workers.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.planning.plan import Plan, PlannedTrial
    from orchestrator.sweeps.status import TrialStatus
    from workers.store.store import Store, TrialFolder

MOST_OBSERVED = 50
"""Enough trials for an estimate; reading the costs of thousands would make planning slow."""


def estimate_trials(
    store: Store, trials: Sequence[PlannedTrial], statuses: Mapping[str, TrialStatus]
) -> dict[str, Estimate]:
    """Return the expected cost of each trial by its id, from trials of this sweep, else from others in the store."""
    of_sweep = (planned for planned in trials if statuses[planned.trial_id].state == TrialState.DONE)
    costs = ((planned.trial, read_costs(store.trial(planned.trial_id))) for planned in islice(of_sweep, MOST_OBSERVED))
    observed = [observe(trial, rows) for trial, rows in costs] or [
        observe(trial, read_costs(store.trial(trial.trial_id))) for trial in islice(_others(store), MOST_OBSERVED)
    ]
    return estimate_all(trials, [observation for observation in observed if observation is not None])


def expected_left(estimates: Mapping[str, Estimate], planned: PlannedTrial, status: TrialStatus) -> float:
    """Return the device-seconds expected for what is left of a trial; 0 if it is finished."""
    if status.finished:
        return 0.0
    share = share_left(planned, status.epoch, trained=status.manifest is not None)
    return estimates[planned.trial_id].device_seconds * share


def budget_of(store: Store, planned: Plan, estimates: Mapping[str, Estimate]) -> Budget | None:
    """Return a sweep's budget, or None if its spec has none. Reads the costs of all its trials."""
    if planned.spec.budget is None:
        return None

    def left(each: PlannedTrial) -> float:
        folder = store.trial(each.trial_id)
        epoch = folder.read_record(PROGRESS).number("epoch") or 0.0
        return share_left(each, epoch, trained=folder.manifest() is not None)

    return Budget(
        limit=3600 * planned.spec.budget.device_hours,
        trials=planned.trials,
        expected={trial_id: estimate.device_seconds for trial_id, estimate in estimates.items()},
        costs=lambda trial_id: read_costs(store.trial(trial_id)),
        share_left=left,
    )


def used_by(store: Store, planned: Plan) -> float:
    """Return the device-seconds of all attempts at a sweep's trials, on the kind of device that it runs on."""
    on_gpu = planned.spec.resources.gpus > 0
    return sum(device_seconds(read_costs(store.trial(each.trial_id)), on_gpu=on_gpu) for each in planned.trials)


def spending_of(store: Store, status: TrialStatus) -> Spending:
    """Return what a trial has cost so far."""
    folder = store.trial(status.trial_id)
    rows = read_costs(folder)
    # With one attempt, nothing was taken over from earlier ones.
    resumed = status.state == TrialState.DONE and len({row.attempt for row in rows}) > 1
    return spending(status.trial_id, rows, status.state, _images(folder) if resumed else None)


def _images(folder: TrialFolder) -> int | None:
    """Return the number of images that a finished trial was trained on, None if it cannot be read."""
    try:
        rows = from_parquet(HistoryRow, folder.read(HISTORY) or b"", HISTORY)
    except RecordError:
        return None
    return sum(row.images for row in rows) or None


def _others(store: Store) -> Iterator[Trial]:
    for folder in store.finished_trials():
        record = folder.read_json(TRIAL)
        try:
            yield Trial.from_json(record)
        except (TypeError, KeyError, ValueError, AttributeError):
            continue  # of another release, or damaged
