"""A finished trial that lacks a metric which failed, as commands show it; and failures of earlier releases."""

import csv
import json
from pathlib import Path

import pytest

from command_line import CommandLine
from orchestrator.driver.notify import end_of
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.control_files import RETRY
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import save_sweep, sole_driver
from workers.accounting.costs import read_costs
from workers.measuring import samples
from workers.measuring.metrics import POINT_METRICS, PSNRMetric
from workers.outcome import Outcome
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store

SPEC = """\
name: small
dataset: {name: digits, train_limit: 128}
architecture: {name: mlp, hidden: [8], latent_units: 2}
methods: [{kind: beta-vae, betas: [0.1, 1]}]
training: {epochs: 2, batch_size: 64, learning_rate: 1e-3}
evaluation: {metrics: [active_units, psnr]}
"""
WITHOUT = SPEC.replace(", psnr", "")
TRAINED = 2 * 128
CAUSE = "psnr failed: ZeroDivisionError: [bold]no[/bold] such luck"
NOTE = (
    "1 finished trial lacks results that failed: psnr. All other results are kept. After a change, "
    "`mrvae-orch retry small --failed` evaluates again without training; or submit the spec without them."
)
RECORD_OF_AN_EARLIER_RELEASE = {
    "attempt": 1,
    "failed_at": 1795693786.9,
    "message": "ValueError: the training label has one value, 0, in all 43 examples",
    "traceback": """\
Traceback (most recent call last):
  File "/opt/mrvae/workers/run.py", line 75, in _attempt
    attempt.run()
  File "/opt/mrvae/workers/attempt.py", line 101, in run
    self._train_and_commit(data)
  File "/opt/mrvae/workers/attempt.py", line 109, in _train_and_commit
    files = self._evaluate(state.model, data)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/mrvae/workers/attempt.py", line 243, in _evaluate
    points = self._points(model, data, evaluation)
ValueError: the training label has one value, 0, in all 43 examples
""",
}


class Broken(PSNRMetric):
    def columns(self, _):
        raise ZeroDivisionError("[bold]no[/bold] such luck")


@pytest.fixture
def command_line(tmp_path):
    return CommandLine(tmp_path)


@pytest.fixture
def store(command_line):
    return Store(command_line.store)


def sweep_of(store, spec):
    return save_sweep(store, plan(spec_from_text(spec, "spec.yaml")), 0.0)


def run(store, planned, **fields):
    """Run a planned trial as a worker does, without a cluster."""
    context = Context(
        store, "small", planned.evaluation, planned.resources, lambda dataset: dataset.load(Path()), **fields
    )
    return run_trial(planned.trial, context)


@pytest.fixture
def sweep(store, monkeypatch):
    """A sweep of two finished trials, in the first of which the PSNR failed."""
    sweep = sweep_of(store, SPEC)
    first, second = sweep.plan.trials
    with monkeypatch.context() as patch:
        patch.setitem(POINT_METRICS, "psnr", Broken)
        assert run(store, first) == Outcome("done", CAUSE)
    assert run(store, second) == Outcome("done")
    return sweep


def test_status_says_done_and_what_is_lacking(command_line, sweep):
    """The trial comes first, and the cause is shown as it is, brackets too."""
    found = command_line.ask("status", "small", "--json").json
    assert found["counts"] == {"done": 2}
    failed, whole = found["trials"]
    assert (failed["state"], failed["message"]) == ("done", CAUSE)
    (reason,) = failed["failed_metrics"]
    assert (reason["metric"], reason["points"], reason["of"]) == ("psnr", 1, 1)
    assert (whole["message"], whole["failed_metrics"]) == ("", [])
    shown = command_line.ask("status", "small", COLUMNS="300").out
    assert NOTE in shown
    assert CAUSE in shown


def test_watch_ends_with_what_is_lacking(command_line, sweep):
    """Exit code 1, as `submit` has it."""
    watched = command_line.ask("watch", "small", COLUMNS="300")
    assert watched.code == 1
    assert f"{NOTE} Details: mrvae-orch status small" in watched.out


def test_the_report_has_the_other_results_and_says_what_is_missing(command_line, store, sweep):
    """The cell is empty, and the reason is among what is missing, with the command."""
    assert command_line.ask("report", "small", "--out", "report", "--format", "html,csv,markdown,latex").code == 0
    folder = command_line.folder / "report"
    first, second = csv.DictReader((folder / "points.csv").open())
    assert (first["psnr_db"], first["active_units"] != "", float(first["distortion"]) > 0) == ("", True, True)
    assert float(second["psnr_db"]) > 0
    page = (folder / "report.html").read_text()
    expected = (
        "β-VAE, constant, β 0.1, seed 0: psnr failed: ZeroDivisionError: [bold]no[/bold] such luck; "
        "“mrvae-orch retry small --failed” evaluates again without training."
    )
    assert expected in page


def test_the_report_shows_no_pictures_where_they_failed(command_line, store, monkeypatch):
    """It says so once, and not that a file is damaged."""
    sweep = sweep_of(store, SPEC)

    def raises(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(samples, "_pictures", raises)
    for planned in sweep.plan.trials:
        assert run(store, planned) == Outcome("done", "pictures failed: ZeroDivisionError: no such luck")
    assert command_line.ask("report", "small", "--out", "report", "--format", "html,markdown,latex").code == 0
    page = (command_line.folder / "report/report.html").read_text()
    assert page.count("pictures failed: ZeroDivisionError: no such luck; “mrvae-orch retry small --failed”") == 1
    assert "cannot be read" not in page


def test_a_notification_says_what_is_lacking(store, sweep):
    statuses = read_statuses(store, sweep.plan.trials, "small")
    message = end_of(sweep, statuses, finished=False).message
    assert message == "small has ended unfinished: 2 done (1 lack results of metrics that failed)"


def test_retry_has_it_evaluated_again(command_line, store, sweep):
    """A driver that runs the sweep is asked, and finds a trained trial without the evaluation; the other stays done."""
    with sole_driver(store, "small"):
        assert command_line.ask("retry", "small", "--failed").code == 0
    assert store.sweep("small").read(RETRY) is not None
    statuses = read_statuses(store, sweep.plan.trials, "small")
    assert [status.state for status in statuses.values()] == ["trained", "done"]
    assert run(store, sweep.plan.trials[0]) == Outcome("done")
    assert command_line.ask("status", "small", "--json").json["trials"][0]["failed_metrics"] == []
    assert trained(store, sweep.plan.trials[0]) == TRAINED


def test_without_the_metric_the_trial_has_only_to_be_evaluated(store, sweep):
    """What failed is not asked for any more, and is not mentioned."""
    again = sweep_of(store, WITHOUT)
    first = again.plan.trials[0]
    assert read_statuses(store, [first])[first.trial_id].state == "trained"
    assert run(store, first) == Outcome("done")
    assert read_statuses(store, [first])[first.trial_id].complete
    assert trained(store, first) == TRAINED


def trained(store, planned):
    return sum(row.images for row in read_costs(store.trial(planned.trial_id)) if row.phase == "train")


@pytest.fixture
def earlier(store):
    """A trial as earlier releases left it after a metric failed: a checkpoint and `failure.json`, but no manifest."""
    sweep = sweep_of(store, SPEC)
    planned = sweep.plan.trials[0]
    questions = iter([False] * 4)
    assert run(store, planned, should_stop=lambda: next(questions, True)) == Outcome("stopped")
    folder = store.trial(planned.trial_id)
    folder.write_json("failure.json", RECORD_OF_AN_EARLIER_RELEASE)
    assert folder.manifest() is None
    return planned


@pytest.mark.parametrize("spec", [SPEC, WITHOUT], ids=["same", "without"])
def test_a_metric_that_failed_in_an_earlier_release_costs_no_training(store, earlier, spec):
    """The same spec, or one without the metric, is pending, and has only the evaluation left."""
    planned = sweep_of(store, spec).plan.trials[0]
    assert read_statuses(store, [planned])[planned.trial_id].state == "pending"
    assert run(store, planned) == Outcome("done")
    assert read_statuses(store, [planned])[planned.trial_id].complete
    assert trained(store, planned) == TRAINED


def test_a_training_that_failed_in_an_earlier_release_stays_failed(store, earlier):
    """Whatever metrics are asked for."""
    trace = 'File "/opt/mrvae/workers/attempt.py", line 170, in _train\nTrialFailed: the loss is nan'
    record = {**RECORD_OF_AN_EARLIER_RELEASE, "message": "the loss is nan", "traceback": trace}
    store.trial(earlier.trial_id).write("failure.json", json.dumps(record).encode())
    for spec in (SPEC, WITHOUT):
        planned = sweep_of(store, spec).plan.trials[0]
        status = read_statuses(store, [planned])[planned.trial_id]
        assert (status.state, status.message) == ("failed", "the loss is nan")
