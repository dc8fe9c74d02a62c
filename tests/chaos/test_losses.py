"""The check of what is lost finds each kind of loss: in a sweep that was really trained and tracked."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import safetensors.torch

from chaos.losses import Seen, check_nothing_is_lost, losses, train_undisturbed
from chaos.processes import Descendants
from command_line import SPEC, wait_until
from mlflow_server import Backend, sqlite_at
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.sweep import save_sweep
from orchestrator.tracking.forward import forward_sweeps
from workers.accounting.costs import COPY, COSTS, read_costs, write_costs
from workers.store.layout import HISTORY
from workers.store.manifest import StoredFile
from workers.store.store import Store
from workers.training.checkpoint import FINAL, Checkpoint

ONE = SPEC.replace("  - {kind: mr-vae, beta_range: [0.01, 10]}\n", "").replace("[0.1, 1]}", "[0.1]}")


@pytest.fixture(scope="module")
def made(tmp_path_factory, empty_mlflow):
    """One trial, in a store and in MLflow, and the same undisturbed."""
    folder = tmp_path_factory.mktemp("made")
    store = Store(folder / "runs")
    sweep = save_sweep(store, resolve(spec_from_text(ONE, "spec.yaml"), store), time.time())
    for each in sweep.plan.trials:
        train_undisturbed(each, store, sweep.name)
        train_undisturbed(each, Store(folder / "undisturbed"), sweep.name)
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    assert forward_sweeps(store, [sweep.name], f"sqlite:///{folder / 'mlflow.db'}") == 0
    return folder


class Made:
    """A copy of it, to spoil."""

    def __init__(self, folder):
        self.store, self.undisturbed = Store(folder / "runs"), Store(folder / "undisturbed")
        database = sqlite_at(folder / "mlflow.db")
        self.backend = Backend(database.uri, database, "mrvae-orch")
        self.seen = Seen()
        (self.trial,) = self.store.finished_trials()

    def losses(self):
        return list(losses(self.store, "tiny", self.undisturbed, self.backend, self.seen))

    def rewrite(self, name, content):
        """Change a file, and the manifest with it, so that only the content can tell."""
        manifest = self.trial.manifest()
        files = {**manifest.files, name: self.trial.write(name, content)}
        self.trial.write("manifest.json", replace(manifest, files=files).to_bytes())

    def sql(self, statement):
        with contextlib.closing(sqlite3.connect(self.backend.database.path)) as connection, connection:
            assert connection.execute(statement).rowcount == 1


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Made(tmp_path)


def test_a_sweep_left_alone_has_lost_nothing(copy):
    check_nothing_is_lost(copy.store, "tiny", copy.undisturbed, copy.backend, copy.seen)


def test_one_changed_bit_of_a_tensor(copy):
    checkpoint = Checkpoint.from_bytes(copy.trial.read(FINAL))
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    name = next(iter(tensors))
    tensors[name].view(-1)[0] *= 1 + 2e-7
    copy.rewrite(FINAL, Checkpoint(tensors, checkpoint.progress).to_bytes())
    assert any(f"tensor {name} differs" in loss for loss in copy.losses())


def test_a_missing_tensor(copy):
    tensors = safetensors.torch.load(copy.trial.read(FINAL))
    tensors.popitem()
    copy.rewrite(FINAL, safetensors.torch.save(tensors))
    assert any("its tensors are" in loss for loss in copy.losses())


@pytest.mark.parametrize("name", ["manifest.json", HISTORY, FINAL])
def test_a_cut_file(copy, name):
    copy.trial.write(name, copy.trial.read(name)[:-40])
    assert any("is pending" in loss for loss in copy.losses())


def test_a_file_changed_behind_its_manifest(copy):
    content = copy.trial.read("trial.json")
    copy.trial.write("trial.json", content[:-1] + b" ")
    assert any("not the file that its manifest names" in loss for loss in copy.losses())


def test_a_manifest_that_names_another_file(copy):
    manifest = copy.trial.manifest()
    files = {**manifest.files, FINAL: StoredFile(manifest.files[FINAL].bytes, "0" * 64)}
    copy.trial.write("manifest.json", replace(manifest, files=files).to_bytes())
    assert any("not the file that its manifest names" in loss for loss in copy.losses())


@pytest.mark.parametrize(
    ("spoil", "loss"),
    [
        (lambda lines: lines[:-1], "a metric is missing"),
        (lambda lines: [*lines, lines[0]], "a metric is too many"),
        (lambda lines: [lines[0].replace(b'"train/elbo": -', b'"train/elbo": -1'), *lines[1:]], "a metric is too many"),
    ],
)
def test_a_log_with_other_metrics(copy, spoil, loss):
    lines = copy.trial.read("metrics.jsonl").splitlines(keepends=True)
    copy.trial.write("metrics.jsonl", b"".join(spoil(lines)))
    assert any(loss in each for each in copy.losses())


@pytest.mark.parametrize(
    ("statement", "loss"),
    [
        ("delete from metrics where rowid = (select min(rowid) from metrics)", "a metric in MLflow is missing"),
        (
            "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics limit 1",
            "a metric in MLflow is too many",
        ),
        ("delete from tags where key = 'trial_id'", "MLflow has 0 runs of it"),
        ("update runs set status = 'RUNNING' where name = 'tiny'", "of the sweep itself: ['RUNNING']"),
        ("delete from tags where key = 'mrvae.sweep'", "MLflow has 0 runs of the sweep itself"),
    ],
)
def test_what_mlflow_lacks_or_has_twice(copy, statement, loss):
    copy.sql(statement)
    assert any(loss in each for each in copy.losses())


@pytest.mark.parametrize(
    ("spoil", "loss"),
    [
        (lambda rows: [*rows, rows[0]], "phase is there 2 times"),
        (lambda rows: [replace(row, attempt=2) for row in rows], "attempts [1] are missing"),
        (lambda rows: [replace(row, outcome="running") for row in rows], "attempt 1 ended as ['running']"),
        (lambda rows: [replace(row, outcome="killed") for row in rows], "last attempt ended as ['killed']"),
        (lambda rows: [row for row in rows if row.phase != "train"], "its costs know of 0 trained examples"),
        (lambda rows: [*rows, *(replace(row, attempt=2) for row in rows)], "trained again after it was done"),
        (lambda rows: rows[:0], "attempts [1] are missing"),
    ],
)
def test_costs_that_are_wrong(copy, spoil, loss):
    write_costs(copy.trial, spoil(read_costs(copy.trial)))
    assert any(loss in each for each in copy.losses())


def test_cut_files_of_costs(copy):
    for name in (COSTS, COPY):
        copy.trial.write(name, copy.trial.read(name)[:-40])
    assert any("attempts [1] are missing" in loss for loss in copy.losses())


def test_an_attempt_that_was_seen_and_left_no_cost(copy):
    copy.seen.attempts[copy.trial.trial_id] = {2}
    assert any("attempts [2] are missing" in loss for loss in copy.losses())


def test_files_and_locks_left_behind(copy):
    copy.trial.write("checkpoint/step-000000001.safetensors", b"")
    (copy.trial.path() / ".history.1.tmp").touch()
    with copy.trial.try_lock():
        found = copy.losses()
    assert any("step-000000001.safetensors, .history.1.tmp were left behind" in loss for loss in found)
    assert any("its lock is still held" in loss for loss in found)


def test_a_process_that_outlives_who_started_it():
    """It is found though its parent is gone, and ended."""
    sleeper = "import subprocess, sys; subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    with Descendants() as descendants:
        process = subprocess.Popen([sys.executable, "-c", sleeper])
        assert [found.pid for found in descendants.orphans([])] == [process.pid]
        assert descendants.orphans([process.pid]) == []
        process.wait()
        (orphan,) = wait_until(lambda: descendants.orphans([process.pid]))
        assert orphan.name() == "sleep"
        descendants.end()
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE
