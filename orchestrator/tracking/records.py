"""Records of a sweep and its trials for a tracking server, as plain values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.running.metric_log import LogPlace

STATUSES = {
    TrialState.RUNNING: "RUNNING",
    TrialState.TRAINED: "SCHEDULED",
    TrialState.PENDING: "SCHEDULED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
    TrialState.DONE: "FINISHED",
}
"""MLflow's run status for each state of a trial, the liveliest state first."""


@dataclass(frozen=True)
class TrackedTrial:
    """One trial. Times are milliseconds since 1970, UTC."""

    trial_id: str
    run_name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    log_path: LogPlace
    state: TrialState
    message: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None

    @property
    def has_started(self) -> bool:
        """Whether it has a run: a trial before its first attempt has none."""
        return self.state not in (TrialState.PENDING, TrialState.CANCELLED) or self.started_ms is not None

    @cached_property
    def facts(self) -> str:
        """A hash of the record without its metrics."""
        texts = [self.run_name, dict(self.parameters), dict(self.tags), self.state, self.message]
        record = json.dumps([*texts, self.started_ms, self.ended_ms], sort_keys=True)
        return hashlib.sha256(record.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TrackedSweep:
    """One sweep. Artifacts that do not exist are skipped; their file names must differ."""

    name: str
    trials: tuple[TrackedTrial, ...]
    spec_path: Path | None = None
    artifacts: tuple[Path, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [path.name for path in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"sweep {self.name}: artifacts need different file names, got {', '.join(names)}")

    @property
    def files(self) -> tuple[Path, ...]:
        """The spec and the artifacts, each once."""
        spec = (self.spec_path,) if self.spec_path else ()
        return tuple(dict.fromkeys((*spec, *self.artifacts)))

    @property
    def status(self) -> str:
        """The parent run's status: that of its most active trial, so SCHEDULED while some wait and none runs."""
        states = {trial.state for trial in self.trials}
        return next((status for state, status in STATUSES.items() if state in states), STATUSES[TrialState.DONE])

    @property
    def is_unfinished(self) -> bool:
        """Whether a trial runs, or waits to."""
        return self.status in (STATUSES[TrialState.RUNNING], STATUSES[TrialState.PENDING])

    @property
    def started_ms(self) -> int | None:
        """When the first trial started."""
        return min((trial.started_ms for trial in self.trials if trial.started_ms is not None), default=None)

    @property
    def ended_ms(self) -> int | None:
        """When the last trial ended."""
        return max((trial.ended_ms for trial in self.trials if trial.ended_ms is not None), default=None)


@dataclass(frozen=True)
class ForwardReport:
    """The result of one pass.

    `pending` counts the trials that have not started and so have no run, `unchanged` those that were up to date.
    `rejected` names the trials that the server refused, with reasons; the next pass retries them.
    """

    metrics_sent: int = 0
    runs_created: int = 0
    artifacts_sent: int = 0
    pending: int = 0
    unchanged: int = 0
    rejected: tuple[str, ...] = ()

    def __str__(self) -> str:
        runs, files = _count(self.runs_created, "new run"), _count(self.artifacts_sent, "file")
        parts = [f"{_count(self.metrics_sent, 'metric')}, {runs}, {files} uploaded"]
        if self.pending:
            parts.append(f"{_count(self.pending, 'trial')} {'has' if self.pending == 1 else 'have'} not started")
        if self.rejected:
            parts.append(f"refused: {', '.join(self.rejected)}")
        return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
