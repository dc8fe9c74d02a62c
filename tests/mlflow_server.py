"""A real `mlflow server` that can be killed, and its database, in which what it was told is counted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.tracking.mlflow_client import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Database:
    """MLflow's rows: where MLflow finds them, and how a test does, without MLflow."""

    uri: str
    connect: Callable[[], Any]
    placeholder: str = "?"
    path: Path | None = None

    def query(self, sql, *values):
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql.replace("?", self.placeholder), values)
            return cursor.fetchall()


def sqlite_at(path: Path) -> Database:
    """Return the SQLite database of a file."""
    return Database(f"sqlite:///{path}", lambda: sqlite3.connect(path, timeout=30), path=path)


def empty_database(folder: Path) -> Path:
    """Make MLflow's tables in a new SQLite file, which takes seconds: make one, and copy it."""
    quiet_mlflow()
    from mlflow.tracking import MlflowClient

    path = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@dataclass(frozen=True)
class Backend:
    """A tracking URI, an experiment, and the database in which its rows can be counted."""

    uri: str
    database: Database
    experiment: str

    def query(self, sql, *values):
        return self.database.query(sql, *values)

    def runs(self):
        """Tags, with a run's own columns among them, of all runs of the experiment."""
        rows = self.query(
            "select run_uuid, r.name, status, start_time, end_time from runs r join experiments e"
            " using (experiment_id) where e.name = ? and r.lifecycle_stage = 'active'",
            self.experiment,
        )
        return [
            {
                **dict(self.query("select key, value from tags where run_uuid = ?", run_id)),
                "run_id": run_id,
                "name": name,
                "status": status,
                "start": start,
                "end": end,
            }
            for run_id, name, status, start, end in rows
        ]

    def count_runs(self):
        """Return the number of runs of all experiments."""
        return self.query("select count(*) from runs")[0][0]

    def run_of(self, trial_id):
        (run,) = [run for run in self.runs() if run.get("trial_id") == trial_id]
        return run

    def parent_of(self, sweep):
        (run,) = [run for run in self.runs() if run.get("mrvae.sweep") == sweep]
        return run

    def history(self, trial_id):
        """Return every row of the trial's metrics, in order."""
        return sorted(
            self.query(
                "select key, step, timestamp, value, is_nan from metrics where run_uuid = ?",
                self.run_of(trial_id)["run_id"],
            )
        )

    def parameters(self, trial_id):
        run_id = self.run_of(trial_id)["run_id"]
        return dict(self.query("select key, value from params where run_uuid = ?", run_id))


def free_port():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


class MLflowServer:
    """A real `mlflow server` in a process group of its own, which can be killed and started again."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process = None

    def start(self):
        options = {
            "--backend-store-uri": self.database.uri,
            "--artifacts-destination": str(self._folder / "artifacts"),
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
        }
        arguments = [word for option in options.items() for word in option]
        # As users start it, not as forwarding sets MLflow up; its background jobs are ten processes nothing here uses.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *arguments],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        self._await_answer()

    def kill(self):
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pids(self):
        """Return the process's id while it runs."""
        return [self._process.pid] if self._process is not None else []

    def ensure_started(self):
        if self._process is None:
            self.start()

    def _await_answer(self):
        # A request that reaches the database: the first one takes long, and is not what is tested.
        question = f"{self.uri}/api/2.0/mlflow/experiments/get?experiment_id=0"
        while self._process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(question, timeout=60).close()  # noqa: S310 (loopback)
                return
            time.sleep(0.05)
        pytest.fail((self._folder / "server.log").read_text())
