"""Whatever is killed, nothing is lost and nothing is done twice: real Ray, real kill -9, real signals."""

import errno
import os
import signal

import psutil
import pytest

from chaos.world import preloaded
from command_line import SPEC, CommandLine, kill_all, wait_until
from orchestrator.errors import ExitCode
from undisturbed import check_all_is_whole
from workers.accounting.costs import read_costs
from workers.store.layout import METRIC_LOG
from workers.store.store import Store

ONE_TRIAL = SPEC.replace("  - {kind: beta-vae, betas: [0.1, 1]}\n", "")
EPOCHS = 50
"""At a step a second, minutes in which to be caught."""


@pytest.fixture
def command_line(tmp_path, pace):
    return CommandLine(tmp_path, **pace.variables)


def mid_training(command_line: CommandLine):
    """Return the folder of a trial that is in training and has a checkpoint, once there is one."""

    def look():
        for path in command_line.store.glob("trials/*/checkpoint/step-*.safetensors"):
            folder = path.parents[1]
            if not (folder / "manifest.json").exists():
                return folder
        return None

    return wait_until(look)


@pytest.mark.slow
def test_everything_killed_and_submitted_again(command_line, pace):
    """After kill -9 of the driver, Ray and all workers, with the newest checkpoint cut, the same submit finishes."""
    command_line.write_spec(pace.of(SPEC, EPOCHS))
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "0.2")
    folder = mid_training(command_line)
    wait_until(lambda: len(list(folder.glob("checkpoint/step-*.safetensors"))) == 2)
    kill_all(process)
    newest = max(folder.glob("checkpoint/step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:1000])
    status = command_line.run("status", "tiny", "--json").json
    assert status["counts"].get("running", 0) == 0
    assert status["counts"]["pending"] >= 1
    pace.hurry()
    again = command_line.run("submit", "spec.yaml")
    assert again.code == 0, again.out + again.err
    check_all_is_whole(command_line, 3, EPOCHS)
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


@pytest.mark.slow
def test_ctrl_c_checkpoints_and_exits_130(command_line, pace):
    """An interrupt lets the running trial checkpoint; the same command goes on from there."""
    command_line.write_spec(pace.of(ONE_TRIAL, EPOCHS))
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "1000")
    folder = wait_until(lambda: next(command_line.store.glob("trials/*/progress.json"), None)).parent
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, out + err
    assert "Run the same command again to resume" in out
    assert "Traceback" not in out + err
    (checkpoint,) = folder.glob("checkpoint/step-*.safetensors")
    assert {row.outcome for row in read_costs(Store(command_line.store).trial(folder.name))} == {"interrupted"}
    stopped_at = int(checkpoint.name[5:14])
    assert 0 < stopped_at < EPOCHS * 4
    pace.hurry()
    again = command_line.run("submit", "spec.yaml")
    assert again.code == 0, again.out + again.err
    check_all_is_whole(command_line, 1, EPOCHS)
    last = [row for row in read_costs(Store(command_line.store).trial(folder.name)) if row.outcome == "done"]
    assert sum(row.images for row in last if row.phase == "train") == (EPOCHS * 4 - stopped_at) * 64


def test_killed_worker_is_retried_within_the_same_submit(command_line, pace):
    """A worker that is killed costs what it did since its last checkpoint, and the sweep goes on by itself."""
    command_line.write_spec(pace.of(ONE_TRIAL, EPOCHS))
    process = command_line.start("submit", "spec.yaml", "--checkpoint-every", "0.2")
    folder = mid_training(command_line)
    progress = wait_until(lambda: Store(command_line.store).trial(folder.name).read_json("progress.json"))
    assert progress["pid"] in {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    os.kill(progress["pid"], signal.SIGKILL)
    pace.hurry()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "worker died (attempt 1); retrying" in out
    check_all_is_whole(command_line, 1, EPOCHS)
    outcomes = {(row.attempt, row.outcome) for row in read_costs(Store(command_line.store).trial(folder.name))}
    assert outcomes == {(1, "killed"), (2, "done")}


@pytest.mark.slow
def test_two_submits_of_one_sweep_exclude_each_other(command_line, pace):
    """The second one says who runs it and what to do, exits 2, and disturbs nothing."""
    command_line.write_spec(pace.of(ONE_TRIAL, EPOCHS))
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


@pytest.mark.slow
def test_a_quota_reached_within_an_open_file_is_the_store_not_the_trial(command_line, tmp_path):
    """A write that the kernel refuses in a worker: exit code 2, not 1, and nothing says failed."""
    command_line.write_spec(ONE_TRIAL + "retries: {store: 0}\n")
    (trial,) = command_line.ask("plan", str(command_line.folder / "spec.yaml"), "--json").json["trials"]
    log = command_line.trial_folder(trial["trial_id"]) / METRIC_LOG
    reached = tmp_path / "quota-reached"
    reached.touch()
    quota = {"LD_PRELOAD": str(preloaded(tmp_path)), "QUOTA_FOLDER": str(log), "QUOTA_REACHED": str(reached)}
    refused = command_line.run("submit", "spec.yaml", **quota)
    assert refused.code == ExitCode.UNUSABLE, refused.out + refused.err
    assert f"interrupted: {OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))}" in refused.out
    assert command_line.ask("status", "tiny", "--json").json["counts"] == {"pending": 1}
