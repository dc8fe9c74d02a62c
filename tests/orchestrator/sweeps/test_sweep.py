"""Counting the trials of a sweep without its plan."""

import json

import pytest

from command_line import SPEC
from orchestrator.errors import SweepError
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps import sweep as sweeps
from orchestrator.sweeps.control_files import cancel_trials
from orchestrator.sweeps.status import count_states, read_statuses
from orchestrator.sweeps.sweep import PLANNED, SUBMITTED, count_trials, load_sweep, save_sweep
from workers.store.layout import FAILURE
from workers.store.store import Store

SELECTION = SPEC + "selection: {learning_rates: [1e-3, 1e-2], beta: 1}\n"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def planned_again(monkeypatch):
    """Whether each count that follows made the plan."""
    loaded = []
    monkeypatch.setattr(sweeps, "load_sweep", lambda *asked: loaded.append(asked) or load_sweep(*asked))
    return loaded


def submit(store, text=SPEC):
    return save_sweep(store, plan(spec_from_text(text, "spec.yaml")), 0.0)


def by_plan(store):
    """Return the counts that the plan of the stored spec gives."""
    sweep = load_sweep(store, "tiny")
    return count_states(read_statuses(store, sweep.plan.trials, "tiny").values())


def test_trials_are_counted_without_a_plan(store, planned_again):
    """In every state as the plan counts them."""
    first, second, _ = submit(store).plan.trials
    store.trial(first.trial_id).write_json(FAILURE, {"message": "diverged"})
    cancel_trials(store, "tiny", [second.trial_id])
    assert count_trials(store, "tiny") == {"failed": 1, "cancelled": 1, "pending": 1} == by_plan(store)
    assert not planned_again


def test_a_sweep_of_an_earlier_release_is_counted_by_its_spec(store, planned_again):
    """Its folder has no plan."""
    submit(store).folder.remove(PLANNED)
    assert count_trials(store, "tiny") == {"pending": 3}
    assert planned_again


def test_a_plan_of_another_release_is_named(store):
    """This release does not guess what it says."""
    folder = submit(store).folder
    folder.write_json(PLANNED, folder.read_json(PLANNED) | {"version": 2})
    with pytest.raises(SweepError, match=r"planned\.json was written by another release \(format 2"):
        count_trials(store, "tiny")


def test_a_spec_that_was_changed_in_the_store_is_counted_by_its_plan(store, planned_again):
    folder = submit(store).folder
    folder.write("spec.yaml", SPEC.replace("seeds: [0]", "seeds: [0, 1]").encode())
    assert count_trials(store, "tiny") == {"pending": 6}
    assert planned_again


def test_a_sweep_that_chooses_learning_rates_is_counted_by_its_plan(store, planned_again):
    """What trials it has depends on the results so far."""
    submit(store, SELECTION)
    assert count_trials(store, "tiny") == by_plan(store)
    assert planned_again


def test_an_unknown_sweep_cannot_be_counted(store):
    submit(store)
    with pytest.raises(SweepError, match="did you mean 'tiny'"):
        count_trials(store, "tinny")


def test_the_first_submission_is_kept(store):
    """A later one changes the spec and the ids, and not when the sweep began."""
    submit(store)
    again = save_sweep(store, plan(spec_from_text(SPEC.replace("seeds: [0]", "seeds: [0, 1]"), "spec.yaml")), 100.0)
    assert again.submitted_at == json.loads(again.folder.read(SUBMITTED))["submitted_at"] == 0.0
    assert count_trials(store, "tiny") == {"pending": 6}
