"""A plan's report and a sweep's status as a program asks for them, and as `plan --json` and `status --json` print."""

import json

import pytest

from command_line import SPEC, CommandLine
from evaluation.records import Cost
from orchestrator.costs.plan_report import examine
from orchestrator.costs.sweep_status import read_sweep_status
from orchestrator.errors import SweepError
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from workers.accounting.costs import write_costs
from workers.store.layout import FAILURE
from workers.store.store import Store


@pytest.fixture
def laptop(tmp_path):
    laptop = CommandLine(tmp_path)
    laptop.write_spec()
    return laptop


@pytest.fixture
def sweep(laptop):
    """A sweep of which one trial failed after two attempts of four seconds each."""
    store = Store(laptop.store)
    sweep = save_sweep(store, plan(spec_from_text(SPEC, "spec.yaml")), 0.0)
    trial_id = sweep.plan.trials[0].trial_id
    rows = [
        Cost(trial_id, attempt, "train", outcome, 4.0, "cpu", 1.0, 10, None, None, None, 0.0, "here")
        for attempt, outcome in ((1, "killed"), (2, "failed"))
    ]
    write_costs(store.trial(trial_id), rows)
    store.trial(trial_id).write_json(FAILURE, {"message": "the loss is NaN", "attempt": 2})
    return sweep


def test_a_plan_is_examined_from_python(laptop):
    """What the command prints, and as a table's rows."""
    spec = spec_from_text(SPEC, "spec.yaml")
    report = examine(spec, Store(laptop.store), laptop.folder / "data")
    assert [report.statuses[each.trial_id].state for each in report.plan.trials] == ["pending"] * 3
    assert report.forecast.left == sum(report.left.values()) > 0
    assert report.seconds_on(0.5) is None
    printed = laptop.ask("plan", str(laptop.folder / "spec.yaml"), "--json", "--devices", "2").json
    assert json.loads(json.dumps(report.to_json(2.0))) == printed
    *_, last = report.summary(0.5)
    assert last == "With 0.5 CPU cores no trial can start: each needs more."


def test_the_json_of_a_plan_keeps_its_keys(laptop):
    """Scripts read them, in this order."""
    found = laptop.ask("plan", str(laptop.folder / "spec.yaml"), "--json", "--set", "budget.device_hours=1").json
    assert list(found) == ["sweep", "scaled", "cost", "choices", "waiting", "trials", "unusable"]
    assert list(found["scaled"]) == ["by", "changes"]
    assert list(found["cost"]) == ["device", "device_hours", "from_the_store", "budget", "seconds"]
    assert list(found["cost"]["budget"]) == ["device_hours", "used", "passed_by"]
    assert list(found["waiting"]) == ["trials", "device_seconds"]
    assert list(found["trials"][0]) == [
        "trial_id", "method", "betas", "seed", "curve", "stage", "parameters", "eval_id", "evaluated_betas", "state",
        "device_seconds", "device_seconds_left", "estimate",
    ]  # fmt: skip


def test_the_status_of_a_sweep_is_read_from_python(laptop, sweep):
    """With the costs of all attempts, as the command prints it."""
    status = read_sweep_status(Store(laptop.store), "tiny")
    first = status.spending[sweep.plan.trials[0].trial_id]
    assert status.counts == {"failed": 1, "pending": 2}
    assert [attempt.outcome for attempt in first.attempts] == ["killed", "failed"]
    assert json.loads(json.dumps(status.to_json())) == laptop.ask("status", "tiny", "--json").json


def test_the_json_of_a_status_keeps_its_keys(laptop, sweep):
    """Scripts read them, in this order."""
    found = laptop.ask("status", "tiny", "--json").json
    assert list(found) == ["sweep", "counts", "costs", "trials"]
    assert found["costs"]["attempts"] == 2
    assert found["costs"]["outcomes"] == {"failed": 1, "killed": 1}
    assert found["costs"]["device_hours"]["CPU"]["lost"] == pytest.approx(8 / 3600)
    assert list(found["trials"][0]) == [
        "trial_id", "method", "betas", "seed", "state", "message", "attempts", "epoch", "epochs", "elbo", "costs",
        "lost_device_seconds", "failed_metrics",
    ]  # fmt: skip
    assert found["trials"][0]["message"] == "the loss is NaN"
    assert found["trials"][1]["costs"] == []


def test_an_unknown_sweep_has_no_status(laptop, sweep):
    with pytest.raises(SweepError, match="did you mean 'tiny'"):
        read_sweep_status(Store(laptop.store), "tinny")
