"""Several processes that train one trial: the numbers of one process, and one end for all."""

import numpy as np
import pytest
import torch

import rank_processes
from evaluation.records import HistoryRow, from_parquet
from rank_processes import EVERY_STEP, Rank, places, prepared, trained
from workers.accounting.costs import read_costs
from workers.distributed.ranks import RankInfo
from workers.outcome import Outcome
from workers.running import checkpointer
from workers.training.checkpoint import FINAL, Checkpoint

CASES = (
    *(f"{network}/{kind}" for network in ("mlp", "linear", "lstm", "normed") for kind in ("mr", "beta")),
    *("mlp-tc/mr", "resnet/mr"),
)
THREE_RANKS = ("mlp/mr", "lstm/mr", "normed/beta")
"""A gated network, one whose examples have several lengths, and one with batch norm."""


@pytest.fixture(autouse=True)
def every_step_checkpoints(monkeypatch):
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SHARE", EVERY_STEP)


@pytest.fixture(scope="module")
def ranks():
    """Three processes, for all tests; they end as they should."""
    processes = [Rank() for _ in range(3)]
    yield processes
    assert [process.end() for process in processes] == [0, 0, 0]


def together(processes, job, *arguments, each=(), **options):
    """Run a job on some processes as one group, and return what each did; `each` has options of their own."""
    of_each = [*each, *[{}] * (len(processes) - len(each))]
    for process, place, own in zip(processes, places(len(processes)), of_each, strict=True):
        here = (*arguments, place) if job == "trained" else (place, *arguments)
        process.start(job, here, {**options, **own})
    return [process.result() for process in processes]


def history(store, **options):
    trial, context = prepared(str(store), **options)
    folder = context.store.trial(trial.trial_id)
    return from_parquet(HistoryRow, folder.read("history.parquet"), "history")


def final(store, **options):
    trial, context = prepared(str(store), **options)
    return Checkpoint.from_bytes(context.store.trial(trial.trial_id).read(FINAL)).tensors


def same_bits(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "size"), [*((case, 2) for case in CASES), *((case, 3) for case in THREE_RANKS)])
def test_ranks_train_what_one_process_trains(ranks, case, size):
    """Gradients, running statistics and the sums of losses are those of one process, whatever the slices are."""
    alone, found = trained(case, None), together(ranks[:size], "trained", case)
    largest = max(np.abs(gradient).max() for gradient in alone["gradients"].values())
    for name, expected in alone["gradients"].items():
        # A bias before a batch norm has none: what is there is rounding, and measured by the largest of all.
        tolerance = max(1e-4 * np.abs(expected).max(), 1e-6 * largest)
        np.testing.assert_allclose(found[0]["gradients"][name], expected, rtol=2e-3, atol=tolerance, err_msg=name)
    for name in ("loss", "distortion", "rate_nats"):
        assert getattr(found[0]["row"], name) == pytest.approx(getattr(alone["row"], name), rel=1e-4)
    # Of the first step: later ones see what the optimiser makes of rounding.
    for name, expected in alone["running"].items():
        np.testing.assert_allclose(found[0]["running"][name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
    for name in alone["state"]:
        assert all(np.array_equal(found[0]["state"][name], other["state"][name]) for other in found[1:]), name


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_stopped_ranks_end_bit_identical_and_only_rank_0_writes(ranks, tmp_path, size):
    """Stopped by one rank in the middle of an epoch, then run again: the bits and the history of one undisturbed."""
    elsewhere = [{}, *[{"store": str(tmp_path / "none")}] * (size - 1)]
    assert (
        together(ranks[:size], "run", each=elsewhere, store=str(tmp_path / "a"), intermediate=1)
        == [Outcome("done")] * size
    )
    stopping = [{}, {"stop_at": 9}]
    assert (
        together(ranks[:size], "run", str(tmp_path / "b"), each=stopping, intermediate=1) == [Outcome("stopped")] * size
    )
    assert together(ranks[:size], "run", str(tmp_path / "b"), intermediate=1) == [Outcome("done")] * size
    assert same_bits(final(tmp_path / "a"), final(tmp_path / "b"))
    rows = [[(row.loss, row.rate_nats) for row in history(tmp_path / each)] for each in "ab"]
    assert rows[0] == rows[1]
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_another_number_of_ranks_goes_on(ranks, tmp_path):
    """Two ranks stop, three go on, one process ends it: what comes out is what one process trains."""
    alone, elastic = str(tmp_path / "alone"), str(tmp_path / "elastic")
    assert together(ranks[:2], "run", elastic, each=[{}, {"stop_at": 6}]) == [Outcome("stopped")] * 2
    assert together(ranks, "run", elastic, each=[{"stop_at": 6}]) == [Outcome("stopped")] * 3
    for store in (elastic, alone):
        assert rank_processes.run(None, store) == Outcome("done")
    for found, expected in zip(history(elastic), history(alone), strict=True):
        assert found.loss == pytest.approx(expected.loss, rel=1e-4)
    expected = final(alone)
    for name, tensor in final(elastic).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_others_and_nothing_is_lost(ranks, tmp_path, victim):
    """A kill -9 in the middle of training: the other is interrupted; run again, the bits are those of undisturbed."""
    killed, undisturbed = str(tmp_path / "killed"), str(tmp_path / "undisturbed")
    places_, doomed = places(2), Rank()
    processes = [ranks[0], ranks[0]]
    processes[victim] = doomed
    for rank, process in enumerate(processes):
        process.start("run", (places_[rank], killed), {"kill_at": 10} if rank == victim else {})
    outcome = processes[1 - victim].result()
    assert (outcome.state, outcome.cause) == ("interrupted", "gang")
    assert doomed.process.wait() == -9
    trial, context = prepared(killed)
    assert context.store.trial(trial.trial_id).names("checkpoint/step-*")
    assert together(ranks[:2], "run", killed) == together(ranks[:2], "run", undisturbed) == [Outcome("done")] * 2
    assert same_bits(final(killed), final(undisturbed))


@pytest.mark.slow
def test_costs_are_of_all_ranks(ranks, tmp_path):
    """Examples are those of whole batches, devices those of all ranks; energy is unknown where a rank's is."""
    together(ranks[:2], "run", str(tmp_path), each=[{}, {"stop_at": 6}])
    assert together(ranks[:2], "run", str(tmp_path)) == [Outcome("done")] * 2
    trial, context = prepared(str(tmp_path))
    rows = read_costs(context.store.trial(trial.trial_id))
    assert sum(row.images for row in rows if row.phase == "train") == 4 * 140
    assert {(row.device_count, row.joules) for row in rows} == {(2.0, None)}
    assert {(row.attempt, row.outcome) for row in rows} == {(1, "interrupted"), (2, "done")}
    assert sum(row.cpu_seconds for row in rows) > 0


@pytest.mark.slow
def test_what_fails_on_one_rank_fails_on_all(ranks, tmp_path):
    """The same outcome everywhere, and the trace of the rank where it happened is kept."""
    outcomes = together(ranks[:2], "run", str(tmp_path), each=[{}, {"break_at": 5}])
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].state == "failed"
    assert outcomes[0].message.startswith("image 17 is damaged (trace in ")
    trial, context = prepared(str(tmp_path))
    failure = context.store.trial(trial.trial_id).read_json("failure.json")
    assert "DataError: image 17 is damaged" in failure["traceback"]
    diverged = together(ranks, "run", str(tmp_path), learning_rate=1e30)
    assert len(set(diverged)) == 1
    assert "at step 1, β " in diverged[0].message


@pytest.mark.slow
def test_a_metric_that_fails_keeps_no_rank_waiting(ranks, tmp_path):
    """All ranks have the outcome of rank 0, which evaluates; in the log of MLflow is what did not fail."""
    # Two examples leave the linear probe one to learn from.
    outcomes = together(ranks[:2], "run", str(tmp_path), metrics=("linear_probe", "psnr"), limit=2)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].state == "done"
    assert outcomes[0].message.startswith("linear_probe failed: ValueError: ")
    trial, context = prepared(str(tmp_path))
    assert "test_first_2/psnr_db" in context.store.trial(trial.trial_id).read("metrics.jsonl").decode()


@pytest.mark.slow
def test_a_rank_that_waits_can_stop_the_evaluation(ranks, tmp_path):
    """What rank 0 measures alone ends when another rank is asked to stop."""
    assert together(ranks[:2], "run", str(tmp_path)) == [Outcome("done")] * 2
    asked = together(ranks[:2], "run", str(tmp_path), betas=3000, each=[{}, {"stop_at": 0}])
    assert asked == [Outcome("stopped")] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 2}, "3 ranks cannot share a batch of 2; set resources.ranks to 2 or less")],
)
def test_a_batch_that_cannot_be_shared_is_refused(ranks, tmp_path, options, message):
    """Before any step, and on every rank alike."""
    outcomes = together(ranks, "run", str(tmp_path), **options)
    assert len(set(outcomes)) == 1
    assert outcomes[0].state == "failed"
    assert outcomes[0].message.startswith(message)


@pytest.mark.slow
def test_a_network_that_mixes_its_batch_is_refused(ranks):
    """Where the loss of an example hangs on its batch in a way that nobody knows of, no number would be right."""
    with pytest.raises(AssertionError, match="'mixing' computes other losses when several ranks share a batch"):
        together(ranks[:1] + ranks[1:2], "trained", "mixing/mr")


@pytest.mark.parametrize(("rank", "address"), [(2, "here:1"), (-1, "here:1"), (0, "here"), (0, ":1")])
def test_a_rank_is_one_of_its_group(rank, address):
    with pytest.raises(ValueError, match=r"it must be"):
        RankInfo(rank, 2, address)
