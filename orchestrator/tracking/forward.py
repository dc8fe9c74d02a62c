"""Forwarding of a sweep to MLflow: its records, and the process that sends them during a submit."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from orchestrator.errors import UserError
from orchestrator.planning.labels import describe, flatten
from orchestrator.sweeps.control_files import cancelled_trials
from orchestrator.sweeps.status import TrialStatus, read_status
from orchestrator.sweeps.sweep import SPEC, load_sweep, report_folder
from orchestrator.terminal import echo
from orchestrator.tracking.config import (
    EXPERIMENT,
    NO_DATABASE,
    artifact_root,
    default_uri,
    forwarding_state,
    remember_tracking_uri,
    resolve_tracking_uri,
    state_folder,
)
from orchestrator.tracking.mlflow_client import Forwarder, TrackingUnavailable, forward_until_ended
from orchestrator.tracking.records import TrackedSweep, TrackedTrial
from orchestrator.tracking.sync import digest
from orchestrator.tracking.uri import is_sqlite, redact, sqlite_path
from workers.running.metric_log import log_bytes, log_in
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console

    from orchestrator.planning.plan import PlannedTrial
    from workers.store.store import Folder, Store

LOG = "tracking.log"
FIRST_LOOK_SECONDS = 1.0
LAST_PASS_SECONDS = 60.0
"""How long a submit waits at its end for the last forwarding pass."""
GRACE_SECONDS = 5.0
"""How long the process may take to save its state."""
REPORT_ARTIFACTS = ("report.html", "report.md", "points.parquet", "points.csv", "costs.csv", "trials.csv")


class Forwarding:
    """A process that forwards a sweep during the block, and once more when `finish` is called.

    It is a separate process because MLflow may block for long. It ends by itself when this process dies. None is
    started while no trial is left to run and the last pass forwarded everything.
    """

    def __init__(self, store: Store, name: str, tracking_uri: str | None) -> None:
        self._store = store
        self._name = name
        self._uri = resolve_tracking_uri(store, name, tracking_uri)
        self._stack = ExitStack()
        self._log: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._uri is None:
            return self
        remember_tracking_uri(self._store, self._name, self._uri)
        if not self._is_settled(self._uri):
            self._start(self._uri)
        return self

    def _start(self, uri: str) -> None:
        self._log = self._log_path()
        command = [sys.executable, "-P", "-m", "orchestrator.cli.main", "sync", self._name]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                [*command, "--store", str(self._store), "--follow"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # The URI may hold a password, which other users could read from a command line.
                env={**os.environ, "MLFLOW_TRACKING_URI": uri},
                start_new_session=True,
            )

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(self._process)
        self._stack.close()

    def finish(self, console: Console, seconds: float = LAST_PASS_SECONDS) -> None:
        """Forward the rest within a time limit, and print where the runs are or what is not yet uploaded."""
        if self._uri is None:
            console.print(f"Not forwarded to MLflow: {NO_DATABASE}.", soft_wrap=True)
            return
        if self._process is None and not self._is_settled(self._uri):
            self._start(self._uri)  # the report has changed
        process = self._process
        if process is None or process.stdin is None or self._log is None:
            console.print(f"MLflow: {_shown_at(self._store, self._uri)}", soft_wrap=True)
            return
        process.stdin.close()
        try:
            with console.status("forwarding to MLflow"):
                code = process.wait(seconds)
            lines = self._log.read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"forwarding ended with exit code {code}"
        except subprocess.TimeoutExpired:
            self._end(process)
            code, reason = -1, f"MLflow did not accept everything within {seconds:g} s"
        if code == 0:
            console.print(f"MLflow: {_shown_at(self._store, self._uri)}", soft_wrap=True)
            return
        console.print(
            f"MLflow is behind ({self._missing()}): {reason}. All results are in the store; "
            f"`mrvae-orch sync {self._name}` uploads the rest.",
            soft_wrap=True,
        )

    def _is_settled(self, uri: str) -> bool:
        """Whether no trial is left to run and all was forwarded, as the store remembers it: no server is asked."""
        if is_sqlite(uri) and not sqlite_path(uri).exists():
            return False
        view = SweepView(self._store, self._name)  # which keeps the copies of an object store's files
        sweep = view.load()
        state = forwarding_state(self._store, uri)
        return not sweep.is_unfinished and state.complete.get(sweep.name) == digest(sweep)

    def _log_path(self) -> Path:
        folder = self._store.sweep(self._name)
        # A process writes to files of this machine.
        return folder.path(LOG) if folder.is_local else Path(self._stack.enter_context(TemporaryDirectory())) / LOG

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # it hangs in a call that no signal interrupts
            process.wait()

    def _missing(self) -> str:
        state = forwarding_state(self._store, str(self._uri))
        started = [trial for trial in SweepView(self._store, self._name).load().trials if trial.has_started]
        left = sum(not state.has_all_of(trial, self._name, log_bytes(trial.log_path)) for trial in started)
        return f"{left} of {len(started)} runs not yet uploaded" if left else "runs uploaded, some artifacts missing"


def follow_sweep(store: Store, name: str, tracking_uri: str | None) -> int:
    """Forward a sweep repeatedly until standard input closes, and then once more; returns the exit code."""
    ended = threading.Event()

    def wait_for_end() -> None:
        # Not `sys.stdin.buffer.read`: Python aborts where its lock is held when the process ends for another reason.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    # An exception, so that the state of an unfinished pass is saved.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    view = SweepView(store, name)
    # Importing MLflow takes seconds of processor time, which the starting workers need.
    while not ended.is_set() and not _has_begun(view):
        ended.wait(FIRST_LOOK_SECONDS)
    uri = _known_uri(store, name, tracking_uri)
    outcome = forward_until_ended(view.load, _forwarder(store, uri), ended.is_set, ended.wait)
    echo(str(outcome))
    return 1 if isinstance(outcome, (TrackingUnavailable, StoreError)) or outcome.rejected else 0


def _has_begun(view: SweepView) -> bool:
    try:
        return any(trial.has_started for trial in view.load().trials)
    except StoreError:
        return False  # the store cannot be reached; it is asked again


def forward_sweeps(store: Store, names: Sequence[str], tracking_uri: str | None) -> int:
    """Forward sweeps once and print what was uploaded; returns the exit code."""
    failed = False
    for name in names:
        uri = _known_uri(store, name, tracking_uri)
        try:
            report = _forwarder(store, uri).forward(SweepView(store, name).load())
        except TrackingUnavailable as error:
            echo(f"{name}: {error}", err=True)
            failed = True
            continue
        remember_tracking_uri(store, name, uri)
        echo(f"{name}: {report.metrics_sent:,} metrics and {report.runs_created} runs uploaded to {redact(uri)}")
        for reason in report.rejected:
            echo(f"{name}: refused by MLflow: {reason}", err=True)
        failed = failed or bool(report.rejected)
    return 1 if failed else 0


def _known_uri(store: Store, name: str, tracking_uri: str | None) -> str:
    uri = resolve_tracking_uri(store, name, tracking_uri)
    if uri is None:
        raise UserError(f"sweep {name!r} is not forwarded to MLflow: {NO_DATABASE}")
    return uri


class SweepView:
    """The records of a sweep for MLflow, read from the store at each `load`; finished trials are read once."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._sweep = load_sweep(store, name)
        self._done: dict[tuple[str, str], TrackedTrial] = {}
        self._copies = None if store.is_local else TemporaryDirectory()

    def load(self) -> TrackedSweep:
        """Return the current records."""
        if self._sweep.plan.waiting:
            self._sweep = load_sweep(self._store, self._sweep.name)
        report = report_folder(self._sweep)
        cancelled = cancelled_trials(self._store, self._sweep.name)
        trials = self._store.map(lambda planned: self._trial(planned, cancelled), self._sweep.plan.trials)
        return TrackedSweep(
            name=self._sweep.name,
            trials=tuple(trials),
            spec_path=self._file(self._sweep.folder, SPEC),
            artifacts=tuple(self._file(report, name) for name in REPORT_ARTIFACTS),
            tags={"mlflow.note.content": self._sweep.plan.spec.description},
        )

    def _file(self, folder: Folder, name: str) -> Path:
        """Return a file on this machine's disk, from which MLflow uploads it."""
        if self._copies is None:
            return folder.path(name)
        copy = Path(self._copies.name) / name
        if (content := folder.read(name)) is not None:
            copy.write_bytes(content)
        return copy

    def _trial(self, planned: PlannedTrial, cancelled: Collection[str]) -> TrackedTrial:
        # The trial that wins a selection is evaluated again as a trial of the sweep.
        key = (planned.trial_id, planned.evaluation.eval_id)
        known = self._done.get(key)
        if known is not None:
            return known
        status = read_status(self._store, planned, cancelled)
        tracked = _tracked_trial(self._store, planned, status)
        if status.complete:
            self._done[key] = tracked
        return tracked


def _tracked_trial(store: Store, planned: PlannedTrial, status: TrialStatus) -> TrackedTrial:
    identity = planned.trial.to_json()
    manifest = status.manifest
    provenance = manifest.provenance if manifest else {}
    return TrackedTrial(
        trial_id=planned.trial_id,
        run_name=describe(planned),
        parameters=flatten(identity),
        tags={
            "method": planned.trial.method.kind,
            "dataset": planned.trial.dataset.name,
            "architecture": planned.trial.architecture.name,
            "seed": str(planned.trial.seed),
            "stage": planned.stage,
            **{name: provenance[name] for name in ("commit", "device", "torch") if name in provenance},
        },
        log_path=log_in(store.trial(planned.trial_id)),
        state=status.state,
        message=status.message,
        started_ms=_milliseconds(status.started_at),
        ended_ms=_milliseconds(manifest.finished_at if manifest else None),
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _forwarder(store: Store, uri: str) -> Forwarder:
    return Forwarder(
        uri,
        artifact_root=artifact_root(store, uri),
        state_folder=state_folder(store),
        experiment=EXPERIMENT,
        is_own=uri == default_uri(store),
    )


def _shown_at(store: Store, uri: str) -> str:
    if uri == default_uri(store):
        return f"`mrvae-orch ui --store {shlex.quote(str(store))}`"
    return redact(uri)
