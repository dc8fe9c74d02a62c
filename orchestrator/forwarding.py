"""What MLflow is told of a sweep, and the process beside a submit that tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

import click

from orchestrator.flat import flatten
from orchestrator.ledger import CANCELLED, DONE, FAILED, PENDING, RUNNING, TRAINED, TrialStatus, read_status
from orchestrator.progress import describe
from orchestrator.reporting import report_folder
from orchestrator.requests import cancelled_trials
from orchestrator.sweeps import SPEC, load_sweep
from orchestrator.tracking_place import EXPERIMENT, remember_tracking_uri, resolve_tracking_uri, state_folder
from workers.tracked import TrackedSweep, TrackedTrial
from workers.tracking import Forwarder, TrackingUnavailable, follow
from workers.tracking_uri import default_tracking_uri, redact
from workers.trial_files import METRIC_LOG

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console

    from orchestrator.plan import PlannedTrial
    from workers.store import Store

LOG = "tracking.log"
FIRST_LOOK_SECONDS = 1.0
LAST_PASS_SECONDS = 60.0
"""How long a submit waits at its end for MLflow to have everything."""
TRACKED_STATES = {
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
    RUNNING: "running",
    PENDING: "pending",
    TRAINED: "pending",
}
REPORT_ARTIFACTS = ("report.html", "report.md", "points.parquet", "points.csv", "costs.csv", "trials.csv")


class Forwarding:
    """A process that forwards a sweep while the block trains, and once more when `finish` is called.

    It is apart from the training because MLflow may block for long. It ends by itself when this process dies.
    """

    def __init__(self, store: Store, name: str, tracking_uri: str | None) -> None:
        self._store = store
        self._name = name
        self._uri = resolve_tracking_uri(store, name, tracking_uri)
        self._log = store.sweep(name).path / LOG
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        remember_tracking_uri(self._store, self._name, self._uri)
        command = [sys.executable, "-P", "-m", "orchestrator.cli.main", "sync", self._name]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                [*command, "--store", str(self._store.root), "--follow"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # The URI may hold a password, which other users could read from a command line.
                env={**os.environ, "MLFLOW_TRACKING_URI": self._uri},
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def finish(self, console: Console) -> None:
        """Have the rest forwarded, wait for it a while, and say where it can be seen or what is left to do."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            with console.status("forwarding to MLflow"):
                code = process.wait(LAST_PASS_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        if code == 0:
            console.print(f"MLflow: {_where_to_look(self._store, self._uri)}", soft_wrap=True)
            return
        lines = self._log.read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines and code != -1 else f"MLflow did not take everything in {LAST_PASS_SECONDS:g} s"
        console.print(
            f"MLflow is behind: {reason}. The results are safe in the store; "
            f"`mrvae-orch sync {self._name}` sends what is left.",
            soft_wrap=True,
        )


def follow_sweep(store: Store, name: str, tracking_uri: str | None) -> int:
    """Forward a sweep again and again until standard input closes, and then once more; returns the exit code."""
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    view = SweepView(store, name)
    # MLflow takes seconds of processor time to import, which the starting workers can use better.
    while not ended.is_set() and not any(trial.has_started for trial in view.load().trials):
        ended.wait(FIRST_LOOK_SECONDS)
    uri = resolve_tracking_uri(store, name, tracking_uri)
    outcome = follow(view.load, _forwarder(store, uri), ended.is_set, ended.wait)
    click.echo(str(outcome))
    return 1 if isinstance(outcome, TrackingUnavailable) or outcome.rejected else 0


def forward_sweeps(store: Store, names: Sequence[str], tracking_uri: str | None) -> int:
    """Forward sweeps once and say what was sent; returns the exit code."""
    failed = False
    for name in names:
        uri = resolve_tracking_uri(store, name, tracking_uri)
        try:
            report = _forwarder(store, uri).forward(SweepView(store, name).load())
        except TrackingUnavailable as error:
            click.echo(f"{name}: {error}", err=True)
            failed = True
            continue
        remember_tracking_uri(store, name, uri)
        click.echo(f"{name}: {report.metrics_sent:,} metrics and {report.runs_created} runs sent to {redact(uri)}")
        for reason in report.rejected:
            click.echo(f"{name}: refused by MLflow: {reason}", err=True)
        failed = failed or bool(report.rejected)
    return 1 if failed else 0


class SweepView:
    """A sweep as MLflow is to show it, read from the store again at each `load`; what is done is read once."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._sweep = load_sweep(store, name)
        self._done: dict[tuple[str, str], TrackedTrial] = {}

    def load(self) -> TrackedSweep:
        """Return the sweep as it stands now."""
        if self._sweep.plan.waiting:
            self._sweep = load_sweep(self._store, self._sweep.name)
        folder = report_folder(self._sweep)
        cancelled = cancelled_trials(self._store, self._sweep.name)
        return TrackedSweep(
            name=self._sweep.name,
            trials=tuple(self._trial(planned, cancelled) for planned in self._sweep.plan.trials),
            spec_path=self._sweep.folder / SPEC,
            artifacts=tuple(folder / name for name in REPORT_ARTIFACTS),
            tags={"mlflow.note.content": self._sweep.plan.spec.description},
        )

    def _trial(self, planned: PlannedTrial, cancelled: Collection[str]) -> TrackedTrial:
        # The trial that wins a selection is evaluated again, as one of the sweep's.
        key = (planned.trial_id, planned.evaluation.eval_id)
        known = self._done.get(key)
        if known is not None:
            return known
        status = read_status(self._store, planned, cancelled)
        tracked = _tracked_trial(self._store, planned, status)
        if status.state == DONE:
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
        log_path=store.trial(planned.trial_id).path / METRIC_LOG,
        state=TRACKED_STATES[status.state],
        message=status.message,
        started_ms=_milliseconds(status.started_at),
        ended_ms=_milliseconds(manifest.finished_at if manifest else None),
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _forwarder(store: Store, uri: str) -> Forwarder:
    return Forwarder(
        uri,
        artifact_root=store.root / "mlartifacts",
        state_folder=state_folder(store).path,
        experiment=EXPERIMENT,
    )


def _where_to_look(store: Store, uri: str) -> str:
    if uri == default_tracking_uri(store.root):
        return f"`mrvae-orch ui --store {store.root}`"
    return redact(uri)
