"""Synchronisation of a tracking server with a sweep: what one pass looks up, creates and uploads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from orchestrator.tracking.records import STATUSES, ForwardReport
from orchestrator.tracking.state import Forwarded
from workers.running.metric_log import Entry, log_bytes, log_id, read_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.tracking.records import TrackedSweep, TrackedTrial
    from orchestrator.tracking.state import ForwardingState

PARENT_TAG, KIND_TAG, SWEEP_TAG, TRIAL_TAG = "mlflow.parentRunId", "mrvae.kind", "mrvae.sweep", "trial_id"
LOG_TAG, MESSAGE_TAG = "mrvae.log", "mrvae.message"
_TRIALS_A_SAVE, _FEW_TRIALS = 200, 50


class Refused(Exception):  # noqa: N818 (an answer of the server, not a defect)
    """The server answered that a request about a run would fail again."""


@dataclass(frozen=True)
class MLflowRun:
    """A run on the server; `metrics` is its number of different metrics."""

    run_id: str
    name: str
    status: str
    ended_ms: int | None
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: int


_RunsByTrial = dict[str, list[MLflowRun]]


class Server(Protocol):
    """The calls that forwarding needs. They raise Refused, or an error that says that the server cannot be used."""

    def experiment_id(self) -> str:
        """Return the experiment's id; the experiment is created if it does not exist."""

    def sweep_runs(self) -> list[MLflowRun]:
        """Return the parent runs of all sweeps."""

    def runs(self, run_ids: Sequence[str]) -> list[MLflowRun]:
        """Return the runs that exist and are not deleted."""

    def trial_runs(self, trial_id: str | None = None) -> _RunsByTrial:
        """Return the runs of one trial, or of all trials, by the trial in their tag."""

    def create(self, name: str, tags: Mapping[str, str], started_ms: int | None) -> MLflowRun:
        """Create a run."""

    def delete(self, run: MLflowRun) -> None:
        """Delete a run."""

    def log(
        self, run: MLflowRun, tags: Mapping[str, str], parameters: Mapping[str, str], entries: Sequence[Entry]
    ) -> None:
        """Set the tags that differ and the parameters that are missing, and log the metrics.

        A parameter never changes. A metric that the run has with the same time and step is ignored.
        """

    def settle(self, run: MLflowRun, name: str, status: str, ended_ms: int | None) -> None:
        """Set the name, the status and, for an ended run, the time of its end."""

    def logged_steps(self, run: MLflowRun, name: str) -> set[int]:
        """Return the steps at which the run has a metric."""

    def upload(self, run: MLflowRun, path: Path) -> None:
        """Upload a file to the run's artifacts; it replaces one of the same name."""


class Pass:
    """One pass over one sweep. `state` is updated during the pass, so that an unfinished pass counts."""

    def __init__(self, server: Server, state: ForwardingState, sweep: TrackedSweep) -> None:
        self._server = server
        self._state = state
        self._sweep = sweep
        self._parent_ids: set[str] = set()
        self._metrics_sent = self._runs_created = self._artifacts_sent = 0
        self._rejected: list[str] = []

    def run(self) -> ForwardReport:
        """Run the pass. Raises the server's error where it cannot be used."""
        before = digest(self._sweep)
        parent = self._open_parent()
        started = [trial for trial in self._sweep.trials if trial.has_started]
        work = [trial for trial in started if not self._is_forwarded(trial)]
        known = self._known_runs(work)
        # A search finds the runs of one trial or of all. One by one, an unfinished pass still makes progress.
        unsure = sum(not self._is_sure(trial, known) for trial in work)
        listed = self._server.trial_runs() if unsure > _FEW_TRIALS else None
        for count, trial in enumerate(work, start=1):
            self._forward_or_reject(trial, partial(self._run_of, trial, known, listed), parent)
            if count % _TRIALS_A_SAVE == 0:
                self._state.save()
        self._upload_artifacts(parent)
        self._server.settle(parent, self._sweep.name, self._sweep.status, self._sweep.ended_ms)
        if not self._rejected and not self._state.doubts:
            self._state.complete[self._sweep.name] = before
        return ForwardReport(
            metrics_sent=self._metrics_sent,
            runs_created=self._runs_created,
            artifacts_sent=self._artifacts_sent,
            pending=len(self._sweep.trials) - len(started),
            unchanged=len(started) - len(work),
            rejected=tuple(self._rejected),
        )

    def _open_parent(self) -> MLflowRun:
        experiment_id = self._server.experiment_id()
        parents = self._server.sweep_runs()
        self._parent_ids = {run.run_id for run in parents}
        if not self._is_same_server(experiment_id):
            self._state.clear()
        self._state.experiment_id = experiment_id
        tags = {**self._sweep.tags, KIND_TAG: "sweep", SWEEP_TAG: self._sweep.name}
        same_name = [run for run in parents if run.tags.get(SWEEP_TAG) == self._sweep.name]
        known = [run for run in same_name if run.run_id == self._state.sweeps.get(self._sweep.name)]
        if same_name:
            parent = _first_run(known or same_name)
        else:
            parent = self._create(self._sweep.name, tags, self._sweep.started_ms)
        for surplus in same_name:
            if surplus.run_id != parent.run_id:
                self._server.delete(surplus)
                self._parent_ids.discard(surplus.run_id)
        self._server.log(parent, tags, {}, [])
        self._parent_ids.add(parent.run_id)
        self._state.sweeps[self._sweep.name] = parent.run_id
        return parent

    def _is_same_server(self, experiment_id: str) -> bool:
        # A new database lacks the parents; one restored from an old copy lacks the newest run.
        if self._state.experiment_id != experiment_id or not self._parent_ids.issuperset(self._state.sweeps.values()):
            return False
        newest = [forwarded.run_id for forwarded in self._state.trials.values()][-1:]
        return len(self._server.runs(newest)) == len(newest)

    def _is_forwarded(self, trial: TrackedTrial) -> bool:
        if trial.trial_id in self._state.doubts:
            return False
        return self._state.has_all_of(trial, self._sweep.name, log_bytes(trial.log_path))

    def _known_runs(self, work: list[TrackedTrial]) -> dict[str, MLflowRun]:
        remembered = {
            self._state.trials[trial.trial_id].run_id: trial.trial_id
            for trial in work
            if trial.trial_id in self._state.trials
        }
        return {remembered[run.run_id]: run for run in self._server.runs(list(remembered))}

    def _is_sure(self, trial: TrackedTrial, known: Mapping[str, MLflowRun]) -> bool:
        return trial.trial_id in known and trial.trial_id not in self._state.doubts

    def _run_of(
        self, trial: TrackedTrial, known: Mapping[str, MLflowRun], listed: _RunsByTrial | None
    ) -> MLflowRun | None:
        if self._is_sure(trial, known):
            return known[trial.trial_id]
        by_trial = self._server.trial_runs(trial.trial_id) if listed is None else listed
        runs = by_trial.get(trial.trial_id, [])
        if not runs:
            return None
        kept = known.get(trial.trial_id) or _first_run(runs)
        for surplus in runs:
            # A run made by an unanswered request has no metrics, because its id is unknown.
            if surplus.run_id != kept.run_id and not surplus.metrics:
                self._server.delete(surplus)
        return kept

    def _forward_or_reject(
        self, trial: TrackedTrial, find_run: Callable[[], MLflowRun | None], parent: MLflowRun
    ) -> None:
        try:
            self._forward(trial, find_run(), parent)
        except Refused as refusal:
            # Its run may have been deleted: the next pass looks it up again.
            self._state.trials.pop(trial.trial_id, None)
            self._rejected.append(f"trial {trial.trial_id[:12]} ({trial.run_name}): {refusal}")
        except BaseException:
            self._state.doubt(trial.trial_id)
            raise
        else:
            self._state.looked_up(trial.trial_id)

    def _forward(self, trial: TrackedTrial, run: MLflowRun | None, parent: MLflowRun) -> None:
        log = log_id(trial.log_path)
        tags = self._tags(trial, run.tags if run else {}, parent, log)
        if run is None:
            run = self._create(trial.run_name, tags, trial.started_ms)
        entries, offset = self._new_entries(trial, run, log)
        self._server.log(run, tags, trial.parameters, entries)
        self._metrics_sent += sum(len(entry.metrics) for entry in entries)
        self._server.settle(run, trial.run_name, STATUSES[trial.state], trial.ended_ms)
        known = self._state.trials.get(trial.trial_id)
        sweeps = known.sweeps if known and known.run_id == run.run_id else ()
        self._state.trials[trial.trial_id] = Forwarded(
            run.run_id, log, offset, trial.facts, tuple(sorted({*sweeps, self._sweep.name}))
        )

    def _tags(
        self, trial: TrackedTrial, present: Mapping[str, str], parent: MLflowRun, log: str | None
    ) -> dict[str, str]:
        tags = {**trial.tags, TRIAL_TAG: trial.trial_id, KIND_TAG: "trial"}
        tags[f"{SWEEP_TAG}.{self._sweep.name}"] = "1"
        if present.get(PARENT_TAG) not in self._parent_ids:  # a trial of two sweeps stays in the first
            tags[PARENT_TAG] = parent.run_id
        if log is not None and LOG_TAG not in present:
            tags[LOG_TAG] = log
        if trial.message or MESSAGE_TAG in present:
            tags[MESSAGE_TAG] = trial.message
        return tags

    def _new_entries(self, trial: TrackedTrial, run: MLflowRun, log: str | None) -> tuple[list[Entry], int]:
        known = self._state.trials.get(trial.trial_id)
        continues = known is not None and (known.run_id, known.log) == (run.run_id, log)
        entries, offset = read_entries(trial.log_path, known.offset if known and continues else 0)
        if run.tags.get(LOG_TAG, log) != log:
            entries = self._unseen(run, entries)
        return entries, offset

    def _unseen(self, run: MLflowRun, entries: list[Entry]) -> list[Entry]:
        # The run has entries of another log: the trial was trained twice, in two stores or after its files were
        # removed. The same steps with other timestamps would be added to the first ones.
        names = {name for entry in entries for name, _ in entry.metrics}
        steps = {name: self._server.logged_steps(run, name) for name in names}
        left = (
            Entry(
                entry.step,
                entry.timestamp_ms,
                tuple((name, value) for name, value in entry.metrics if entry.step not in steps[name]),
            )
            for entry in entries
        )
        return [entry for entry in left if entry.metrics]

    def _upload_artifacts(self, parent: MLflowRun) -> None:
        uploaded = self._state.artifacts.setdefault(parent.run_id, {})
        for path in self._sweep.files:
            digest = _file_sha256(path)
            if digest is not None and uploaded.get(path.name) != digest:
                self._server.upload(parent, path)
                uploaded[path.name] = digest
                self._artifacts_sent += 1

    def _create(self, name: str, tags: Mapping[str, str], started_ms: int | None) -> MLflowRun:
        self._runs_created += 1
        return self._server.create(name, tags, started_ms)


def digest(sweep: TrackedSweep) -> str:
    """Return a hash of all the records of a sweep: equal ones need no second pass."""
    trials = [(trial.trial_id, trial.facts, log_bytes(trial.log_path)) for trial in sweep.trials if trial.has_started]
    files = [_file_sha256(path) for path in sweep.files]
    record = json.dumps([trials, files, dict(sweep.tags), sweep.status, sweep.ended_ms], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()


def _first_run(runs: Sequence[MLflowRun]) -> MLflowRun:
    # Several runs have the same tag only if a request to create one took effect after its sender gave up.
    return min(runs, key=lambda run: (-run.metrics, run.run_id))


def _file_sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
