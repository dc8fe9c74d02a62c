"""A store that commit 2172e9f has written: today's code reads it, reports on it and resumes what was interrupted in it.

`2172e9f/` has the spec as it was submitted and the store it made: two trials that are done, and one that was stopped by
a SIGINT in its tenth epoch of 24.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from command_line import CommandLine
from evaluation.records import HistoryRow, from_parquet
from undisturbed import undisturbed_tensors
from workers.accounting.costs import read_costs
from workers.store.store import Store

SAMPLE = Path(__file__).with_name("2172e9f")
MULTI_RATE = "14445158bacf7db14154996457428748e839cdae421405d66ae05e1f720fd7b6"
FINISHED = "a3e79743555abdd1ef77607a07fde21a5312b28666233bcc1a0c19b7227ff594"
INTERRUPTED = "86354256fae1a0ff3691330d40f91ccd313de72bc366b212be366bcda688d936"
STOPPED_AT, STEPS, EPOCHS, BATCH = 289, 768, 24, 8
REPORTED = {
    (MULTI_RATE, "0.1"): (0.032966350302100184, 43.57645851135254),
    (MULTI_RATE, "1"): (0.027123347148299216, 43.54709786987305),
    (FINISHED, "0.1"): (0.10829244842380285, 43.08142350769043),
}
"""Rate and distortion in nats, as the report of that commit has them."""


def copy_of_sample(folder):
    """Return the command line in a folder, on a copy of the store there."""
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    (folder / "store").rename(folder / "runs")
    return CommandLine(folder)


@pytest.fixture
def command_line(tmp_path):
    return copy_of_sample(tmp_path)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("spec", ["spec.yaml", "runs/sweeps/sample/spec.yaml"])
def test_the_trials_of_the_spec_have_the_ids_that_they_had(command_line, spec):
    """As it was written, and as the store has it, with all defaults."""
    planned = command_line.plan(spec)
    assert [trial["trial_id"] for trial in planned] == [MULTI_RATE, FINISHED, INTERRUPTED]
    assert [trial["state"] for trial in planned] == ["done", "done", "pending"]


def test_the_status_is_what_it_was(command_line):
    status = command_line.ask("status", "sample", "--json").json
    assert status["counts"] == {"done": 2, "pending": 1}
    attempts = {
        trial["trial_id"]: [(each["number"], each["outcome"]) for each in trial["costs"]] for trial in status["trials"]
    }
    assert attempts == {MULTI_RATE: [(1, "done")], FINISHED: [(1, "done")], INTERRUPTED: [(1, "interrupted")]}
    assert command_line.ask("status").out == "sample: 2 done, 1 pending\n"


def test_the_report_has_the_points_that_it_had(command_line):
    written = command_line.ask("report", "sample", "--out", "report", "--format", "csv,html")
    assert written.code == 0, written.err
    with (command_line.folder / "report/points.csv").open() as file:
        found = {
            (row["trial_id"], row["betas"]): (float(row["rate_nats"]), float(row["distortion"]))
            for row in csv.DictReader(file)
        }
    assert found == REPORTED


def test_the_same_submit_resumes_what_was_interrupted_and_trains_nothing_twice(command_line, submit_here):
    """The trials that are done stay as they are; the third resumes, as if it had not been stopped."""
    folder = command_line.trial_folder(INTERRUPTED)
    done = [command_line.trial_folder(each) for each in (MULTI_RATE, FINISHED)]
    before = [contents(each) for each in done]
    result = submit_here(command_line, "spec.yaml")
    assert result.code == 0, result.out + result.err
    assert "done 1/1" in result.out
    assert [contents(each) for each in done] == before

    costs = read_costs(Store(command_line.store).trial(INTERRUPTED))
    trained = {(row.attempt, row.outcome): row.images for row in costs if row.phase == "train"}
    assert trained == {(1, "interrupted"): STOPPED_AT * BATCH, (2, "done"): (STEPS - STOPPED_AT) * BATCH}
    history = from_parquet(HistoryRow, (folder / "history.parquet").read_bytes(), "history")
    assert [row.epoch for row in history] == list(range(EPOCHS))
    assert json.loads((folder / "manifest.json").read_text())["attempts"] == 2
    check_bits(folder, done)


def check_bits(folder, done):
    """The weights are those of a trial that was left alone: to the bit where this machine's sums are the sample's."""
    this_machine_is_alike = all(same_bits(each) for each in done)
    tolerance = {"rtol": 0, "atol": 0} if this_machine_is_alike else {"rtol": 1e-3, "atol": 1e-4}
    torch.testing.assert_close(final(folder), undisturbed_tensors(folder), **tolerance)


def same_bits(folder):
    expected, found = undisturbed_tensors(folder), final(folder)
    return all(torch.equal(found[name], expected[name]) for name in expected)


def final(folder):
    return safetensors.torch.load_file(folder / "checkpoint/final.safetensors")
