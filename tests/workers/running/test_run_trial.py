"""`run_trial` without Ray: train, evaluate, commit; stop and go on; fail and say why."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from evaluation.records import Cost, HistoryRow, Point, from_parquet
from workers.accounting.costs import read_costs
from workers.outcome import Outcome
from workers.running.metric_log import read_entries
from workers.running.run import run_trial
from workers.store.store import Store
from workers.training.checkpoint import FINAL
from workers.trial import BetaVAE, Evaluation, IntermediateEvaluation, MultiRateVAE, Resources, Trial


class StopAfter:
    """Asks to stop at the n-th question."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def final_tensors(context, trial):
    return safetensors.torch.load(context.store.trial(trial.trial_id).read(FINAL))


def points_of(context, trial):
    name = f"points/{context.evaluation.eval_id}.parquet"
    return from_parquet(Point, context.store.trial(trial.trial_id).read(name), name)


METHODS = [MultiRateVAE(0.01, 10.0), BetaVAE(0.5), BetaVAE(0.5, "monotonic"), BetaVAE(0.5, "cyclic")]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.kind}-{getattr(method, 'annealing', '')}")
def test_trial_is_trained_evaluated_and_committed(make_trial, make_context, method):
    """A done trial has its identity, weights, history, costs, points and pictures, and a manifest that verifies."""
    trial = make_trial(method)
    context = make_context(trial)
    assert run_trial(trial, context) == Outcome("done")
    folder = context.store.trial(trial.trial_id)
    manifest = folder.manifest()
    assert manifest.evaluations == [context.evaluation.eval_id]
    assert Trial.from_json(folder.read_json("trial.json")) == trial
    history = from_parquet(HistoryRow, folder.read("history.parquet"), "history")
    assert [(row.epoch, row.step, row.images) for row in history] == [(0, 4, 256), (1, 8, 256), (2, 12, 256)]
    points = points_of(context, trial)
    assert [point.betas for point in points] == [(beta,) for beta in context.evaluation.betas]
    assert all(point.examples == 250 and point.latent_units == 4 and point.rate_nats > 0 for point in points)
    with np.load(folder.path() / f"pictures/{context.evaluation.eval_id}.npz") as pictures:
        assert pictures["reconstructions"].shape == (len(points), 10, 1, 8, 8)
    assert not folder.names("checkpoint/step-*")


def test_history_is_what_was_trained(make_trial, make_context):
    """The loss of an epoch is its distortion plus annealed β times its rate, and the weight follows the schedule."""
    trial = make_trial(BetaVAE(0.5, "monotonic"), epochs=10, warmup_epochs=2)
    context = make_context(trial)
    run_trial(trial, context)
    history = from_parquet(HistoryRow, context.store.trial(trial.trial_id).read("history.parquet"), "history")
    for row in history:
        assert row.loss == pytest.approx(row.distortion + row.beta_weight * 0.5 * row.rate_nats, rel=1e-5)
        assert row.elbo == pytest.approx(-(row.distortion + row.rate_nats), rel=1e-12)
    assert [row.beta_weight for row in history] == pytest.approx([0, 1 / 3, 2 / 3, *[1] * 7])
    rates = [row.learning_rate for row in history]
    assert rates[0] == pytest.approx(1e-10)
    assert rates[2] == pytest.approx(1e-3)
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.mark.parametrize("method", METHODS[:3], ids=lambda method: f"{method.kind}-{getattr(method, 'annealing', '')}")
@pytest.mark.parametrize("questions", [1, 4, 6, 11])
def test_stopped_trial_ends_bit_identical(make_trial, make_context, method, questions):
    """Stopped after any step, on an epoch's border or within, a trial goes on to the same bits and history."""
    trial = make_trial(method, epochs=4)
    undisturbed = make_context(trial, sweep="undisturbed", store=Store(make_context(trial).store.root / "other"))
    assert run_trial(trial, undisturbed) == Outcome("done")
    context = make_context(trial, should_stop=StopAfter(questions))
    assert run_trial(trial, context) == Outcome("stopped")
    assert context.store.trial(trial.trial_id).manifest() is None
    assert run_trial(trial, dataclasses.replace(context, should_stop=lambda: False)) == Outcome("done")
    expected, found = final_tensors(undisturbed, trial), final_tensors(context, trial)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    plain = dataclasses.asdict
    strip = {"trial_id", "eval_id", "sweep"}
    assert [{k: v for k, v in plain(p).items() if k not in strip} for p in points_of(context, trial)] == [
        {k: v for k, v in plain(p).items() if k not in strip} for p in points_of(undisturbed, trial)
    ]


def test_resumed_trial_logs_each_epoch_once(make_trial, make_context):
    """Epochs that are trained again after a stop are not logged again."""
    trial = make_trial(epochs=4)
    # A checkpoint is written on stopping; removing it makes the next attempt repeat what was logged.
    context = make_context(trial, should_stop=StopAfter(13))
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)
    for name in folder.names("checkpoint/*"):
        folder.remove(name)
    run_trial(trial, dataclasses.replace(context, should_stop=lambda: False))
    entries, _ = read_entries(folder.path() / "metrics.jsonl", 0)
    steps = [entry.step for entry in entries for name, _ in entry.metrics if name == "train/loss"]
    assert steps == [1, 2, 3, 4]


def test_done_trial_is_not_touched_again(make_trial, make_context):
    """Running a done trial changes no file."""
    trial = make_trial()
    context = make_context(trial)
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id).path()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert run_trial(trial, context) == Outcome("done")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_new_evaluation_trains_nothing(make_trial, make_context):
    """Asking for more of a done trial measures its weights, and leaves them and the first points as they are."""
    trial = make_trial()
    context = make_context(trial)
    run_trial(trial, context)
    folder = context.store.trial(trial.trial_id)
    weights = folder.read(FINAL)
    more = Evaluation(betas=(0.1, 0.3, 1.0), metrics=("active_units", "psnr", "bits_per_dimension"))
    wider = dataclasses.replace(context, evaluation=more)
    assert run_trial(trial, wider) == Outcome("done")
    assert folder.read(FINAL) == weights
    points = {point.betas: point for point in points_of(wider, trial)}
    for point in points_of(context, trial):
        assert (points[point.betas].distortion, points[point.betas].rates_nats) == (point.distortion, point.rates_nats)
    assert all(point.metrics["psnr_db"] > 0 and point.metrics["bits_per_dimension"] > 0 for point in points.values())
    assert sorted(folder.manifest().evaluations) == sorted([context.evaluation.eval_id, more.eval_id])
    train_attempts = {row.attempt for row in read_costs(folder) if row.phase == "train"}
    assert train_attempts == {1}


def test_loss_that_is_not_finite_fails_for_good_and_says_where(make_trial, make_context):
    """Divergence is the trial's own fault: it is named with step and β, and its cost and trace are kept."""
    trial = make_trial(BetaVAE(2.0), learning_rate=1e30)
    context = make_context(trial)
    outcome = run_trial(trial, context)
    assert outcome.state == "failed"
    assert "at step 1, β = 2;" in outcome.message
    folder = context.store.trial(trial.trial_id)
    failure = json.loads(folder.read("failure.json"))
    assert failure["attempt"] == 1
    assert "TrialFailed" in failure["traceback"]
    assert {row.outcome for row in read_costs(folder)} == {"failed"}
    assert folder.manifest() is None


def test_divergence_of_a_multi_rate_trial_names_the_betas(make_trial, make_context):
    """For an MR-VAE the β of the examples whose loss broke are named."""
    trial = make_trial(MultiRateVAE(0.01, 10.0), learning_rate=1e30)
    outcome = run_trial(trial, make_context(trial))
    assert outcome.state == "failed"
    assert "β between 0.01" in outcome.message


def test_unexpected_error_keeps_its_trace(make_trial, make_context):
    """What nobody foresaw is a failure with its type, its message and its trace, not a lost worker."""

    def broken(_):
        raise ZeroDivisionError("no such luck")

    trial = make_trial()
    context = make_context(trial, load_data=broken)
    outcome = run_trial(trial, context)
    assert outcome.state == "failed"
    assert outcome.message.startswith("ZeroDivisionError: no such luck")
    assert "in broken" in context.store.trial(trial.trial_id).read_json("failure.json")["traceback"]


def test_costs_of_all_attempts_are_kept(make_trial, make_context):
    """A stopped attempt's seconds, images and FLOPs stand beside those of the attempt that finished."""
    trial = make_trial(epochs=4)
    context = make_context(trial, should_stop=StopAfter(6))
    run_trial(trial, context)
    run_trial(trial, dataclasses.replace(context, should_stop=lambda: False))
    rows = read_costs(context.store.trial(trial.trial_id))
    outcomes = {(row.attempt, row.outcome) for row in rows}
    assert outcomes == {(1, "interrupted"), (2, "done")}
    train = [row for row in rows if row.phase == "train"]
    assert sum(row.images for row in train) == 4 * 256
    # The small MLP's products alone: 64·32, twice 32·4, 4·32 and 32·64 multiply-adds forward, and backward twice
    # that, but for the first layer, whose input needs no gradient.
    forward = 2 * (64 * 32 + 2 * 32 * 4 + 4 * 32 + 32 * 64)
    assert sum(row.flops for row in train) == pytest.approx(4 * 256 * (3 * forward - 2 * 64 * 32))
    assert all(isinstance(row, Cost) and row.seconds >= 0 for row in rows)


def test_bfloat16_and_channels_last_train(make_trial, make_context):
    """The options change the numbers a little, not the kind of result, and are trials of their own."""
    plain, fast = make_trial(), make_trial(precision="bfloat16", channels_last=True)
    contexts = [make_context(trial) for trial in (plain, fast)]
    assert [run_trial(trial, context).state for trial, context in zip((plain, fast), contexts, strict=True)] == [
        "done",
        "done",
    ]
    first, second = (points_of(context, trial) for context, trial in zip(contexts, (plain, fast), strict=True))
    for one, other in zip(first, second, strict=True):
        assert one.distortion != other.distortion
        assert one.distortion == pytest.approx(other.distortion, rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that the test wants to be missing")
def test_missing_gpu_interrupts(make_trial, make_context):
    """A machine that lacks the promised GPU is not the trial's fault either."""
    trial = make_trial()
    outcome = run_trial(trial, make_context(trial, resources=Resources(gpus=1.0)))
    assert outcome.state == "interrupted"
    assert "torch sees none" in outcome.message


def test_full_disk_interrupts_and_is_told_apart_from_failure(make_trial, make_context, tmp_path):
    """A store that cannot be written is not the trial's fault: it is worth another try, and nothing says failed."""
    trial = make_trial()
    context = make_context(trial)
    folder = context.store.trial(trial.trial_id)
    (folder.path() / "checkpoint").parent.mkdir(parents=True)
    (folder.path() / "checkpoint").write_text("a file where the checkpoints go")
    outcome = run_trial(trial, context)
    assert outcome.state == "interrupted"
    assert "cannot use" in outcome.message
    assert folder.read("failure.json") is None
    (folder.path() / "checkpoint").unlink()
    assert run_trial(trial, context) == Outcome("done")


def test_measuring_during_training_changes_nothing_of_it(make_trial, make_context):
    """After 1/2 and 1/4 of the epochs, as often as asked; the weights and the points at the end stay the same."""
    trial = make_trial(epochs=8)
    plain, intermediate = make_context(trial), IntermediateEvaluation(2, Evaluation((0.1, 1.0), metrics=("psnr",)))
    measured = dataclasses.replace(plain, store=Store(plain.store.root / "other"), intermediate_evaluation=intermediate)
    for context in (plain, measured):
        assert run_trial(trial, context).state == "done"
    folders = [context.store.trial(trial.trial_id) for context in (plain, measured)]
    assert folders[0].read(FINAL) == folders[1].read(FINAL)
    assert folders[0].names("along/*") == []
    assert folders[1].names("along/*") == ["along/2.parquet", "along/4.parquet"]
    assert {"along/2.parquet", "along/4.parquet"} <= set(folders[1].manifest().files)
    early, late = (from_parquet(Point, folders[1].read(f"along/{epochs}.parquet"), "") for epochs in (2, 4))
    assert [point.betas for point in early] == [(0.1,), (1.0,)]
    assert early[0].elbo < late[0].elbo
    assert "along" in {cost.phase for cost in read_costs(folders[1])}


@pytest.mark.parametrize("asked", [8, 9, 10])
def test_a_stop_in_the_middle_leaves_no_measurement_out(make_trial, make_context, asked):
    """Stopped within the measurement after 2 of 4 epochs (8 steps), or right after it: it is there in the end."""
    trial = make_trial(epochs=4)
    count = iter(range(1000))
    intermediate = IntermediateEvaluation(1, Evaluation((0.1, 1.0)))
    context = make_context(trial, should_stop=lambda: next(count) >= asked, intermediate_evaluation=intermediate)
    assert run_trial(trial, context).state == "stopped"
    again = dataclasses.replace(context, should_stop=lambda: False)
    assert run_trial(trial, again).state == "done"
    undisturbed = dataclasses.replace(again, store=Store(context.store.root / "other"))
    assert run_trial(trial, undisturbed).state == "done"
    found, expected = (each.store.trial(trial.trial_id).read("along/2.parquet") for each in (again, undisturbed))
    assert found == expected


def test_every_point_of_every_evaluation_is_logged_once(make_trial, make_context):
    """Two β that are close, a second evaluation on fewer examples, and a third with one more metric."""
    trial = make_trial(MultiRateVAE(0.01, 10.0))
    context = make_context(trial)
    close = Evaluation(betas=(1.0, 1.0001, 5.0), pictures=0)
    evaluations = (close, dataclasses.replace(close, limit=100), dataclasses.replace(close, metrics=("psnr",)))
    for evaluation in (*evaluations, close):
        assert run_trial(trial, dataclasses.replace(context, evaluation=evaluation)) == Outcome("done")
    folder = context.store.trial(trial.trial_id)
    entries, _ = read_entries(folder.path() / "metrics.jsonl", 0)
    logged = [(name, entry.step, value) for entry in entries for name, value in entry.metrics]
    betas = [(step, value) for name, step, value in logged if name == "test/beta"]
    assert betas == [(0, 1.0), (1, 1.0001), (699, 5.0)]
    for evaluation, name in zip(evaluations, ("test/elbo", "test_first_100/elbo", "test/psnr_db"), strict=True):
        file = f"points/{evaluation.eval_id}.parquet"
        points = from_parquet(Point, folder.read(file), file)
        expected = [point.metrics["psnr_db"] if name.endswith("psnr_db") else point.elbo for point in points]
        assert [value for found, _, value in logged if found == name] == expected
