"""The forwarding state: what a tracking server has, so that nothing is looked up or uploaded twice.

It is a cache: without it everything is looked up on the server again, and repeated uploads change nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.tracking.records import TrackedTrial
    from workers.store.store import Folder

OWN = "the store's own database"
"""In place of the URI of the database in the store, which changes where the store is moved."""
_VERSION = 1
_LOOKS_AFTER_A_DOUBT = 60
"""Lookups of a trial after a request about it was not answered: ten minutes of a running sweep."""


@dataclass(frozen=True)
class Forwarded:
    """The server's copy of one trial: its run, the log and the offset read, the hash of the record, the sweeps."""

    run_id: str
    log: str | None
    offset: int
    facts: str
    sweeps: tuple[str, ...]


class ForwardingState:
    """The cache for one tracking URI and experiment.

    `trials` is in the order in which their runs were first seen; `sweeps` maps a name to its parent run;
    `artifacts` maps a run to the sha256 of each uploaded file; `doubts` maps a trial to the number of lookups left,
    because the server may still carry out a request that it did not answer; `complete` maps a sweep to the digest of
    its records when a pass had forwarded all of them.
    """

    def __init__(self, folder: Folder, tracking_uri: str, experiment: str) -> None:
        self._folder = folder
        # A hash, because the URI may contain a password and others may read the store.
        digest = hashlib.sha256(json.dumps([tracking_uri, experiment]).encode()).hexdigest()
        self._name = f"{digest[:16]}.json"
        self._saved = folder.read(self._name)
        self.experiment_id: str | None = None
        self.clear()
        self._read()

    def clear(self) -> None:
        """Forget all runs: they are on another server."""
        self.trials: dict[str, Forwarded] = {}
        self.sweeps: dict[str, str] = {}
        self.artifacts: dict[str, dict[str, str]] = {}
        self.doubts: dict[str, int] = {}
        self.complete: dict[str, str] = {}

    def doubt(self, trial_id: str) -> None:
        """Record that a request about the trial was not answered."""
        self.doubts[trial_id] = _LOOKS_AFTER_A_DOUBT

    def looked_up(self, trial_id: str) -> None:
        """Count one lookup of a trial in doubt."""
        left = self.doubts.pop(trial_id, 0) - 1
        if left > 0:
            self.doubts[trial_id] = left

    def has_all_of(self, trial: TrackedTrial, sweep: str, log_bytes: int) -> bool:
        """Whether the server has the whole record of a trial of the sweep, and `log_bytes` of its log."""
        forwarded = self.trials.get(trial.trial_id)
        return (
            forwarded is not None
            and forwarded.facts == trial.facts
            and sweep in forwarded.sweeps
            and forwarded.offset == log_bytes
        )

    def save(self) -> None:
        """Write the cache atomically. Raises StoreError where the folder cannot be written."""
        record = {
            "version": _VERSION,
            "experiment_id": self.experiment_id,
            "trials": {trial_id: asdict(forwarded) for trial_id, forwarded in self.trials.items()},
            "sweeps": self.sweeps,
            "artifacts": self.artifacts,
            "doubts": self.doubts,
            "complete": self.complete,
        }
        content = json.dumps(record).encode()
        if content != self._saved:
            self._folder.write(self._name, content)
            self._saved = content

    def _read(self) -> None:
        try:
            record = json.loads(self._saved or b"null")
            if record["version"] == _VERSION:
                self.trials = {trial_id: _forwarded(entry) for trial_id, entry in record["trials"].items()}
                self.sweeps, self.artifacts = dict(record["sweeps"]), dict(record["artifacts"])
                self.doubts, self.complete = dict(record.get("doubts", {})), dict(record.get("complete", {}))
                self.experiment_id = record["experiment_id"]
        except (TypeError, KeyError, ValueError, AttributeError):
            self.clear()  # missing or damaged


def _forwarded(entry: dict[str, Any]) -> Forwarded:
    return Forwarded(**{**entry, "sweeps": tuple(entry["sweeps"])})
