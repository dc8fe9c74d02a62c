"""What was forwarded to a tracking server, remembered so that nothing is looked up or sent twice.

It is a cache: without it everything is found on the server again, and what is sent again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.store import Folder
    from workers.tracked import TrackedTrial

_VERSION = 1
_LOOKS_AFTER_A_DOUBT = 60
"""How often a trial is looked up again after a request about it went unanswered: ten minutes of a running sweep."""


@dataclass(frozen=True)
class Forwarded:
    """What the server has of one trial: its run, how far which log was read, the facts, the sweeps."""

    run_id: str
    log: str | None
    offset: int
    facts: str
    sweeps: tuple[str, ...]


class ForwardingState:
    """The cache for one tracking URI and experiment.

    `trials` is in the order in which their runs were first seen; `sweeps` maps a name to its parent run;
    `artifacts` maps a run to the sha256 of each file that was uploaded to it; `doubts` maps a trial to how often
    it is still to be looked up, because the server may yet do what it did not answer to.
    """

    def __init__(self, folder: Folder, tracking_uri: str, experiment: str) -> None:
        self._folder = folder
        # A hash, because the URI may carry a password and others may read the store.
        digest = hashlib.sha256(json.dumps([tracking_uri, experiment]).encode()).hexdigest()
        self._name = f"{digest[:16]}.json"
        self._saved = folder.read(self._name)
        self.experiment_id: str | None = None
        self.clear()
        self._read()

    def clear(self) -> None:
        """Forget all runs: the server is not the one that they were seen on."""
        self.trials: dict[str, Forwarded] = {}
        self.sweeps: dict[str, str] = {}
        self.artifacts: dict[str, dict[str, str]] = {}
        self.doubts: dict[str, int] = {}

    def doubt(self, trial_id: str) -> None:
        """Remember that a request about the trial went unanswered."""
        self.doubts[trial_id] = _LOOKS_AFTER_A_DOUBT

    def looked_up(self, trial_id: str) -> None:
        """Count one more look at a trial that is in doubt."""
        left = self.doubts.pop(trial_id, 0) - 1
        if left > 0:
            self.doubts[trial_id] = left

    def has_all_of(self, trial: TrackedTrial, sweep: str, log_bytes: int) -> bool:
        """Whether the server took everything there is of a trial of the sweep, its log of so many bytes too."""
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
                self.doubts = dict(record.get("doubts", {}))
                self.experiment_id = record["experiment_id"]
        except (TypeError, KeyError, ValueError, AttributeError):
            self.clear()  # missing or damaged: a cache that cannot be read is an empty one


def _forwarded(entry: dict[str, Any]) -> Forwarded:
    return Forwarded(**{**entry, "sweeps": tuple(entry["sweeps"])})
