"""A metric that raises costs its own columns; whatever else ends an attempt still does."""

import dataclasses
import errno
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.records import Point, from_parquet
from workers.accounting.costs import read_costs
from workers.devices.devices import DeviceMissing
from workers.distributed.ranks import EndedByAnotherRank, RankLost
from workers.measuring import samples
from workers.measuring.metrics import POINT_METRICS, PSNRMetric
from workers.outcome import Cause, Interrupted, Outcome
from workers.running.evaluator import Evaluator
from workers.running.metric_log import read_entries
from workers.running.run import run_trial
from workers.store.failures import FailedMetric, failed_in, forget_failures, read_failed_metrics
from workers.store.store import Store, StoreError
from workers.training.checkpoint import FINAL
from workers.trial import Evaluation

NAMES = ("active_units", "mutual_information", "psnr")
BETAS = (0.1, 1.0)
CAUSE = "ZeroDivisionError: of the test, in two lines"
STEPS = 12


def breaking(at: str, error: Exception, betas: float):
    """Return the PSNR as a metric that raises the error in one of its methods, at the first β."""
    begun = itertools.count()

    class Broken(PSNRMetric):
        def __init__(self, evaluated):
            super().__init__(evaluated)
            self.breaks = next(begun) < betas
            self.reach("__init__")

        def update(self, x, output, generator):
            super().update(x, output, generator)
            self.reach("update")

        def columns(self, totals):
            self.reach("columns")
            return super().columns(totals)

        def reach(self, place):
            if place == at and self.breaks:
                raise error

    return Broken


@pytest.fixture
def broken(monkeypatch):
    """Have the PSNR raise an error."""
    return lambda at="columns", error=None, betas=math.inf: monkeypatch.setitem(
        POINT_METRICS, "psnr", breaking(at, error or ZeroDivisionError("of the test,\nin two lines"), betas)
    )


def points_of(context, trial):
    name = f"points/{context.evaluation.eval_id}.parquet"
    return from_parquet(Point, context.store.trial(trial.trial_id).read(name), name)


def failed_of(context, trial):
    folder = context.store.trial(trial.trial_id)
    return read_failed_metrics(folder, folder.manifest(), context.evaluation.eval_id)


@pytest.mark.parametrize("at", ["__init__", "update", "columns"])
def test_a_metric_that_raises_costs_its_own_columns(make_trial, make_context, tmp_path, broken, at):
    """Everything else is what it is without the metric; the cause is in the manifest's file, the trace in the log."""
    trial = make_trial()
    plain = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES[:2]))
    assert run_trial(trial, plain) == Outcome("done")
    expected = points_of(plain, trial)
    broken(at)
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    assert run_trial(trial, context) == Outcome("done", f"psnr failed: {CAUSE}")
    eval_id = context.evaluation.eval_id
    assert points_of(context, trial) == [dataclasses.replace(point, eval_id=eval_id) for point in expected]
    assert failed_of(context, trial) == (FailedMetric("psnr", CAUSE, 2, 2),)
    assert failed_of(plain, trial) == ()
    folder = context.store.trial(trial.trial_id)
    assert f"pictures/{eval_id}.npz" in folder.manifest().files
    log = folder.read("log/attempt-0002.txt").decode()
    assert log.count("psnr failed; all other results are kept") == log.count("Traceback") == 1
    assert folder.read("failure.json") is None


def test_a_metric_that_raises_at_one_beta_is_kept_at_the_others(make_trial, make_context, broken):
    trial = make_trial()
    broken("update", betas=1)
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    assert run_trial(trial, context) == Outcome("done", f"psnr failed at 1 of 2 β: {CAUSE}")
    assert ["psnr_db" in point.metrics for point in points_of(context, trial)] == [False, True]


def test_of_two_metrics_of_generated_images_the_other_is_kept(make_trial, make_context):
    """Without the weights of Inception the distance by the classifier is computed."""
    trial = make_trial(epochs=1)
    evaluation = Evaluation((1.0,), metrics=("fid", "frechet_classifier"), quality_examples=20)
    context = make_context(trial, evaluation=evaluation, inception_weights=Path("nowhere/weights.pth"))
    outcome = run_trial(trial, context)
    assert outcome.state == "done"
    assert outcome.message.startswith("fid failed: WeightsError: nowhere/weights.pth")
    (point,) = points_of(context, trial)
    assert "frechet_classifier" in point.metrics
    assert "fid" not in point.metrics


@pytest.mark.parametrize("what", ["pictures", "traversals"])
def test_pictures_and_traversals_fail_alone(make_trial, make_context, monkeypatch, what):
    """Without traversals there are still pictures; without pictures there are still operating points."""

    def raises(*_):
        raise ZeroDivisionError("of the test,\nin two lines")

    monkeypatch.setattr(samples, f"_{what}", raises)
    trial = make_trial()
    context = make_context(trial)
    assert run_trial(trial, context) == Outcome("done", f"{what} failed: {CAUSE}")
    assert all("active_units" in point.metrics for point in points_of(context, trial))
    folder = context.store.trial(trial.trial_id)
    pictures = folder.path() / f"pictures/{context.evaluation.eval_id}.npz"
    assert pictures.exists() == (what == "traversals")
    if pictures.exists():
        with np.load(pictures) as arrays:
            assert "originals" in arrays
            assert "traversals" not in arrays


@pytest.mark.parametrize("at", ["update", "columns"])
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Interrupted(), Outcome("stopped")),
        (EndedByAnotherRank(Outcome("stopped", "elsewhere")), Outcome("stopped", "elsewhere")),
        (RankLost("rank 1 is lost"), Outcome("interrupted", "rank 1 is lost", Cause.RANK_LOST)),
        (StoreError("no space is left"), Outcome("interrupted", "no space is left", Cause.STORE)),
        (OSError(errno.ENOSPC, "full"), Outcome("interrupted", "[Errno 28] full", Cause.STORE)),
        (DeviceMissing("torch sees none"), Outcome("interrupted", "torch sees none", Cause.MACHINE)),
        (
            torch.OutOfMemoryError("tried to allocate"),
            Outcome("interrupted", "device out of memory: tried to allocate", Cause.DEVICE_MEMORY),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_the_metrics_own_fault_ends_the_attempt(make_trial, make_context, broken, at, error, outcome):
    """Nothing is committed, and the next attempt has only the evaluation left."""
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken(at, error)
    assert run_trial(trial, context) == outcome
    folder = context.store.trial(trial.trial_id)
    assert folder.manifest() is None
    assert folder.read("failure.json") is None
    broken("nowhere")
    assert run_trial(trial, context) == Outcome("done")
    assert images_trained(folder) == STEPS * 64


def test_a_device_that_answers_nothing_more_fails_the_trial(make_trial, make_context, broken):
    """What CUDA raises once is raised by everything that follows in this process."""
    trial = make_trial()
    broken(error=torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    outcome = run_trial(trial, context)
    assert outcome.state == "failed"
    assert "illegal memory access" in outcome.message


def images_trained(folder):
    return sum(row.images for row in read_costs(folder) if row.phase == "train")


def test_a_retry_evaluates_again_and_trains_nothing(make_trial, make_context, broken):
    """The value that was missing is there, in the log for MLflow too, where nothing is twice; the reason is gone."""
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)
    eval_id, weights, before = context.evaluation.eval_id, folder.read(FINAL), points_of(context, trial)
    assert run_trial(trial, context) == Outcome("done")  # nothing is repeated without being asked

    broken("nowhere")
    forget_failures(folder, eval_id)
    # Whatever kills the process from here on, the model is kept and the evaluation is still to be done.
    assert folder.manifest().evaluations == []
    assert FINAL in folder.manifest().files
    assert run_trial(trial, context) == Outcome("done")
    after = points_of(context, trial)
    assert [point.distortion for point in after] == [point.distortion for point in before]
    assert all(point.metrics["psnr_db"] > 0 for point in after)
    assert failed_of(context, trial) == ()
    assert not folder.exists(f"failed-metrics/{eval_id}.json")
    assert folder.read(FINAL) == weights
    assert images_trained(folder) == STEPS * 64
    entries, _ = read_entries(folder.path() / "metrics.jsonl", 0)
    logged = [(name, entry.step) for entry in entries for name, _ in entry.metrics]
    assert len(logged) == len(set(logged))
    assert ("test/psnr_db", 0) in logged


def test_a_retry_works_on_an_object_store(make_trial, make_context, broken, object_server, bucket_prefix):
    """Under the trial's lease, by a conditional write."""
    trial = make_trial()
    store = Store.at(object_server.url(bucket_prefix))
    context = make_context(trial, store=store, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    assert run_trial(trial, context).message == f"psnr failed: {CAUSE}"
    broken("nowhere")
    forget_failures(store.trial(trial.trial_id), context.evaluation.eval_id)
    assert store.trial(trial.trial_id).manifest().evaluations == []
    assert run_trial(trial, context) == Outcome("done")
    assert all("psnr_db" in point.metrics for point in points_of(context, trial))
    assert not [key for key in object_server.keys(bucket_prefix) if "failed-metrics" in key]


def test_a_retry_leaves_other_evaluations_and_results_without_failures_alone(make_trial, make_context, broken):
    trial = make_trial()
    plain = make_context(trial)
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    for each in (plain, context):
        run_trial(trial, each)
    folder = context.store.trial(trial.trial_id)
    forget_failures(folder, plain.evaluation.eval_id)
    assert len(folder.manifest().evaluations) == 2
    forget_failures(folder, context.evaluation.eval_id)
    assert folder.manifest().evaluations == [plain.evaluation.eval_id]
    assert f"points/{plain.evaluation.eval_id}.parquet" in folder.manifest().files


def test_a_retry_waits_for_whoever_works_on_the_trial(make_trial, make_context, broken):
    """The result of a trial that another process has locked is not withdrawn under its hands."""
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)
    with context.store.trial(trial.trial_id).try_lock() as held:
        assert held
        forget_failures(folder, context.evaluation.eval_id)
    assert len(failed_of(context, trial)) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"metric": "psnr"}', b'[{"metric": "psnr", "points": "x"}]'])
def test_a_damaged_reason_is_still_a_failure(make_trial, make_context, broken, content):
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)
    manifest = folder.manifest()
    folder.write(f"failed-metrics/{context.evaluation.eval_id}.json", content)
    (failed,) = read_failed_metrics(folder, manifest, context.evaluation.eval_id)
    assert "is damaged" in str(failed)


def test_an_evaluation_that_fails_as_a_whole_does_not_stand_in_the_way_of_another(
    make_trial, make_context, monkeypatch
):
    """It is recorded with the failure; what failed in training stands in the way of all."""
    trial = make_trial()
    context = make_context(trial)

    def raises(*_):
        raise ZeroDivisionError("of the test")

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_points", raises)
        assert run_trial(trial, context).state == "failed"
    failure = json.loads(context.store.trial(trial.trial_id).read("failure.json"))
    assert failed_in(failure, context.evaluation.eval_id)
    assert not failed_in(failure, "another")
    diverging = make_trial(learning_rate=1e30)
    assert run_trial(diverging, context).state == "failed"
    assert failed_in(json.loads(context.store.trial(diverging.trial_id).read("failure.json")), "another")


def test_rate_and_distortion_that_are_not_finite_fail_the_trial_whatever_the_metrics(make_trial, make_context):
    trial = make_trial(learning_rate=1e30)
    outcome = run_trial(trial, make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES)))
    assert outcome.state == "failed"
    assert "the loss is" in outcome.message


@pytest.mark.parametrize("moment", ["points/", "pictures/", "failed-metrics/", "manifest.json"])
def test_a_kill_in_a_retry_loses_neither_the_model_nor_the_evaluation(
    make_trial, make_context, broken, monkeypatch, moment
):
    """Before any file of the result is written, the manifest still verifies, and the same retry does the rest."""
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    run_trial(trial, context)
    folder, before = context.store.trial(trial.trial_id), points_of(context, trial)
    forget_failures(folder, context.evaluation.eval_id)

    class Killed(BaseException):
        pass

    def killed_before(method):
        def write(self, name, content):
            if name.startswith(moment):
                raise Killed
            return method(self, name, content)

        return write

    with monkeypatch.context() as patch:
        for method in ("write", "commit"):
            patch.setattr(type(folder), method, killed_before(getattr(type(folder), method)))
        with pytest.raises(Killed):
            run_trial(trial, context)
    assert FINAL in folder.manifest().files
    assert folder.manifest().evaluations == []
    assert run_trial(trial, context) == Outcome("done", f"psnr failed: {CAUSE}")
    assert points_of(context, trial) == before
    assert images_trained(folder) == STEPS * 64


def test_a_kill_before_a_retry_begins_changes_nothing(make_trial, make_context, broken, monkeypatch):
    trial = make_trial()
    context = make_context(trial, evaluation=Evaluation(BETAS, metrics=NAMES))
    broken()
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_failures(folder, context.evaluation.eval_id)
    assert len(failed_of(context, trial)) == 1
    assert folder.manifest().evaluations == [context.evaluation.eval_id]
