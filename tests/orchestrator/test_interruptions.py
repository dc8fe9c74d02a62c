"""Whatever is killed, nothing is lost and nothing is done twice: real Ray, real kill -9, real signals."""

import os
import signal

import psutil
import pytest
import safetensors.torch
import torch

from command_line import SPEC, CommandLine, kill_all, wait_until
from undisturbed import check_all_is_whole
from workers.attempt import Attempt
from workers.costs import read_costs
from workers.outcome import Outcome
from workers.run import run_trial
from workers.store import Store

# Long enough to be caught in the middle.
EPOCHS = 150
LONG = SPEC.replace("epochs: 3", f"epochs: {EPOCHS}")
ONE_LONG = LONG.replace("  - {kind: beta-vae, betas: [0.1, 1]}\n", "")


def mid_training(command_line: CommandLine):
    """Return the folder of a trial that is in training and has a checkpoint, once there is one."""

    def look():
        for path in command_line.store.glob("trials/*/checkpoint/step-*.safetensors"):
            folder = path.parents[1]
            if not (folder / "manifest.json").exists():
                return folder
        return None

    return wait_until(look)


def test_everything_killed_and_submitted_again(command_line, tmp_path):
    """After kill -9 of the driver, Ray and all workers, with the newest checkpoint cut, the same submit finishes."""
    command_line.write_spec(LONG)
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "0.2")
    folder = mid_training(command_line)
    wait_until(lambda: len(list(folder.glob("checkpoint/step-*.safetensors"))) == 2)
    kill_all(process)
    newest = max(folder.glob("checkpoint/step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:1000])
    status = command_line.run("status", "tiny", "--json").json
    assert status["counts"].get("running", 0) == 0
    assert status["counts"]["pending"] >= 1
    again = command_line.run("submit", "spec.yaml")
    assert again.code == 0, again.out + again.err
    check_all_is_whole(command_line, 3, Store(tmp_path / "undisturbed"), EPOCHS)
    rows = read_costs(Store(command_line.store).trial(folder.name))
    assert {(row.attempt, row.outcome) for row in rows} == {(1, "killed"), (2, "done")}
    costs = command_line.run("status", "tiny", "--json").json
    (killed,) = [trial for trial in costs["trials"] if trial["trial_id"] == folder.name]
    assert [(attempt["number"], attempt["outcome"]) for attempt in killed["costs"]] == [(1, "killed"), (2, "done")]
    assert costs["costs"]["outcomes"] == {"done": 3, "killed": 1}
    hours = costs["costs"]["device_hours"]["CPU"]
    assert (
        0
        < hours["lost"]
        < hours["used"]
        == pytest.approx(
            sum(attempt["device_seconds"] for trial in costs["trials"] for attempt in trial["costs"]) / 3600
        )
    )
    assert "4 attempts, 1 interrupted, " in command_line.run("status", "tiny").out
    done = sum(row.images for row in rows if row.phase == "train" and row.outcome == "done")
    assert done < EPOCHS * 256


def test_ctrl_c_checkpoints_and_exits_130(command_line, tmp_path):
    """An interrupt lets the running trial checkpoint; the same command goes on from there."""
    command_line.write_spec(ONE_LONG)
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "1000")
    folder = wait_until(lambda: next(command_line.store.glob("trials/*/progress.json"), None)).parent
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "the same command goes on" in out
    assert "Traceback" not in out + err
    (checkpoint,) = folder.glob("checkpoint/step-*.safetensors")
    assert {row.outcome for row in read_costs(Store(command_line.store).trial(folder.name))} == {"interrupted"}
    stopped_at = int(checkpoint.name[5:14])
    assert 0 < stopped_at < EPOCHS * 4
    again = command_line.run("submit", "spec.yaml")
    assert again.code == 0, again.out + again.err
    check_all_is_whole(command_line, 1, Store(tmp_path / "undisturbed"), EPOCHS)
    last = [row for row in read_costs(Store(command_line.store).trial(folder.name)) if row.outcome == "done"]
    assert sum(row.images for row in last if row.phase == "train") == (EPOCHS * 4 - stopped_at) * 64


def test_killed_worker_is_retried_within_the_same_submit(command_line, tmp_path):
    """A worker that is killed costs what it did since its last checkpoint, and the sweep goes on by itself."""
    command_line.write_spec(ONE_LONG)
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "0.2")
    folder = mid_training(command_line)
    progress = wait_until(lambda: Store(command_line.store).trial(folder.name).read_json("progress.json"))
    assert progress["pid"] in {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    os.kill(progress["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "its worker died (try 1); going on" in out
    check_all_is_whole(command_line, 1, Store(tmp_path / "undisturbed"), EPOCHS)
    outcomes = {(row.attempt, row.outcome) for row in read_costs(Store(command_line.store).trial(folder.name))}
    assert outcomes == {(1, "killed"), (2, "done")}


def test_two_submits_of_one_sweep_exclude_each_other(command_line):
    """The second one says who runs it and what to do, exits 2, and disturbs nothing."""
    command_line.write_spec(ONE_LONG)
    process = command_line.start("submit", "spec.yaml")
    try:
        wait_until(lambda: next(command_line.store.glob("trials/*/progress.json"), None))
        second = command_line.run("submit", "spec.yaml")
        assert second.code == 2
        assert "is being run by another process" in second.err
        running = command_line.run("status", "tiny", "--json").json
        assert running["counts"] == {"running": 1}
    finally:
        kill_all(process)


@pytest.mark.parametrize("moment", range(5))
def test_stop_before_each_write_of_the_commit(tmp_path, moment, make_trial, make_context, monkeypatch):
    """A trial that ends before any file of its result is finished by the next attempt, with the same bits."""
    trial = make_trial()
    context = make_context(trial)
    writes = []
    folder = context.store.trial(trial.trial_id)
    final_writes = ["points/", "pictures/", "checkpoint/final", "history.parquet", "manifest.json"]
    original = type(folder).write

    class Killed(BaseException):
        pass

    def write(self, name, content):
        writes.append(name)
        if name.startswith(final_writes[moment]):
            raise Killed
        return original(self, name, content)

    monkeypatch.setattr(type(folder), "write", write)
    with pytest.raises(Killed):
        Attempt(trial, context, folder).run()
    monkeypatch.undo()
    assert folder.manifest() is None
    assert run_trial(trial, context) == Outcome("done")
    other = make_context(trial, store=Store(tmp_path / "other"))
    run_trial(trial, other)
    one, two = (c.store.trial(trial.trial_id).read("checkpoint/final.safetensors") for c in (context, other))
    expected, found = safetensors.torch.load(one), safetensors.torch.load(two)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
