"""What a tracking server is to show, as plain values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATUSES = {"pending": "SCHEDULED", "running": "RUNNING", "done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
"""MLflow's run status for each state of a trial; a trial that was interrupted is pending again."""


@dataclass(frozen=True)
class TrackedTrial:
    """One trial. `state` is pending, running, done, failed or cancelled; times are milliseconds since 1970, UTC."""

    trial_id: str
    run_name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    log_path: Path
    state: str
    message: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None

    @property
    def has_started(self) -> bool:
        """Whether it has a run at all: a trial that waits for its first attempt has none."""
        return self.state not in ("pending", "cancelled") or self.started_ms is not None

    @cached_property
    def facts(self) -> str:
        """A hash of all that is told about the trial except its metrics."""
        texts = [self.run_name, dict(self.parameters), dict(self.tags), self.state, self.message]
        record = json.dumps([*texts, self.started_ms, self.ended_ms], sort_keys=True)
        return hashlib.sha256(record.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TrackedSweep:
    """One sweep. Artifacts that do not exist yet are left out until they do; their file names must differ."""

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
        """The parent run's status, that of its liveliest trial: SCHEDULED while some wait but none runs."""
        states = {trial.state for trial in self.trials}
        liveliest = (state for state in ("running", "pending", "failed", "cancelled") if state in states)
        return STATUSES[next(liveliest, "done")]

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
    """What one pass did.

    `pending` counts the trials that have not started and so have no run, `unchanged` those without news.
    `rejected` says which trials the server refused, and why; the next pass tries them again.
    """

    metrics_sent: int = 0
    runs_created: int = 0
    artifacts_sent: int = 0
    pending: int = 0
    unchanged: int = 0
    rejected: tuple[str, ...] = ()

    def __str__(self) -> str:
        runs, files = _count(self.runs_created, "new run"), _count(self.artifacts_sent, "file")
        parts = [f"{_count(self.metrics_sent, 'metric')}, {runs}, {files} sent"]
        if self.pending:
            parts.append(f"{_count(self.pending, 'trial')} {'has' if self.pending == 1 else 'have'} not started")
        if self.rejected:
            parts.append(f"refused: {', '.join(self.rejected)}")
        return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
