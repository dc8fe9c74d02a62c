"""Control files, and how status, report and MLflow treat a cancelled trial."""

import pytest

from command_line import SPEC
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.control_files import cancel_trials, cancelled_trials, forget_ends
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.status import count_states, read_statuses
from orchestrator.sweeps.sweep import save_sweep
from orchestrator.tracking.forward import SweepView
from workers.outcome import TrialState
from workers.store.layout import FAILURE, PROGRESS
from workers.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def sweep(store):
    return save_sweep(store, resolve(spec_from_text(SPEC, "spec.yaml"), store), 0.0)


def states(store, sweep):
    return [status.state for status in read_statuses(store, sweep.plan.trials, sweep.name).values()]


def test_a_cancelled_trial_is_not_begun(store, sweep):
    """It is cancelled in this sweep alone, and counts as finished."""
    first, *_ = sweep.plan.trials
    cancel_trials(store, sweep.name, [first.trial_id])
    assert cancelled_trials(store, sweep.name) == {first.trial_id}
    assert states(store, sweep) == [TrialState.CANCELLED, TrialState.PENDING, TrialState.PENDING]
    statuses = read_statuses(store, sweep.plan.trials, sweep.name)
    assert statuses[first.trial_id].finished
    assert count_states(statuses.values()) == {"cancelled": 1, "pending": 2}
    assert set(count_states(read_statuses(store, sweep.plan.trials).values())) == {"pending"}


def test_a_cancelled_trial_keeps_its_progress_until_it_goes_on(store, sweep):
    first, *_ = sweep.plan.trials
    store.trial(first.trial_id).write_json(PROGRESS, {"epoch": 1.5, "attempt": 2})
    cancel_trials(store, sweep.name, [first.trial_id])
    status = read_statuses(store, sweep.plan.trials, sweep.name)[first.trial_id]
    assert (status.state, status.epoch, status.attempts) == (TrialState.CANCELLED, 1.5, 2)
    forget_ends(store, sweep.name, [first])
    assert states(store, sweep) == [TrialState.PENDING] * 3


def test_failures_are_forgotten_with_it(store, sweep):
    first, second, _ = sweep.plan.trials
    for planned in (first, second):
        store.trial(planned.trial_id).write_json(FAILURE, {"message": "NaN"})
    assert states(store, sweep) == [TrialState.FAILED, TrialState.FAILED, TrialState.PENDING]
    forget_ends(store, sweep.name, [first])
    assert states(store, sweep) == [TrialState.PENDING, TrialState.FAILED, TrialState.PENDING]


def test_mlflow_is_told_of_what_had_begun(store, sweep):
    """A trial that was cancelled before its first attempt has no run there."""
    first, second, _ = sweep.plan.trials
    store.trial(first.trial_id).write_json(PROGRESS, {"started_at": 1.0})
    cancel_trials(store, sweep.name, [first.trial_id, second.trial_id])
    tracked = SweepView(store, sweep.name).load().trials
    assert [(trial.state, trial.has_started) for trial in tracked] == [
        ("cancelled", True),
        ("cancelled", False),
        ("pending", False),
    ]
