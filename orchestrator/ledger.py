"""What is done, running, failed and left: derived from the store, never kept a second time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.trial_files import FAILURE, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.plan import PlannedTrial
    from workers.store import Manifest, Store, TrialFolder

DONE, TRAINED, RUNNING, FAILED, PENDING = "done", "trained", "running", "failed", "pending"
STATES = (DONE, TRAINED, RUNNING, FAILED, PENDING)
"""`trained`: its training is done, the evaluation that the sweep asks for is not. `pending`: not begun, or stopped."""


@dataclass(frozen=True)
class TrialStatus:
    """The state of one planned trial. `epoch` and `elbo` are those last written while it trained."""

    trial_id: str
    state: str
    message: str = ""
    attempts: int = 0
    epoch: float = 0.0
    epochs: int = 0
    elbo: float | None = None
    started_at: float | None = None
    manifest: Manifest | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: it is done, or it failed in a way that another try would repeat."""
        return self.state in (DONE, FAILED)


def read_ledger(store: Store, trials: Iterable[PlannedTrial]) -> dict[str, TrialStatus]:
    """Return the status of each planned trial by its id."""
    statuses = store.map(lambda planned: read_status(store, planned), trials)
    return {status.trial_id: status for status in statuses}


def read_status(store: Store, planned: PlannedTrial) -> TrialStatus:
    """Return the status of one planned trial."""
    folder = store.trial(planned.trial_id)
    manifest = folder.manifest()
    if manifest is not None and planned.evaluation.eval_id in manifest.evaluations:
        epochs = planned.trial.training.epochs
        return TrialStatus(
            planned.trial_id,
            DONE,
            attempts=manifest.attempts,
            epoch=epochs,
            epochs=epochs,
            started_at=manifest.started_at,
            manifest=manifest,
        )
    if not folder.exists():
        return TrialStatus(planned.trial_id, PENDING, epochs=planned.trial.training.epochs)
    return _unfinished(folder, planned, manifest)


def count_states(statuses: Iterable[TrialStatus]) -> dict[str, int]:
    """Return how many trials are in each state; states without any are left out."""
    counts = Counter(status.state for status in statuses)
    return {state: counts[state] for state in STATES if counts[state]}


def _unfinished(folder: TrialFolder, planned: PlannedTrial, manifest: Manifest | None) -> TrialStatus:
    failure: Mapping[str, Any] = folder.read_json(FAILURE) or {}
    progress: Mapping[str, Any] = folder.read_json(PROGRESS) or {}
    if folder.is_locked():
        state = RUNNING
    elif failure:
        state = FAILED
    else:
        state = TRAINED if manifest is not None else PENDING
    return TrialStatus(
        planned.trial_id,
        state,
        message=str(failure.get("message", "")) if state == FAILED else "",
        attempts=int(failure.get("attempt", progress.get("attempt", 0))),
        epoch=float(progress.get("epoch", 0.0)),
        epochs=planned.trial.training.epochs,
        elbo=progress.get("elbo"),
        started_at=progress.get("started_at", failure.get("failed_at")),
        manifest=manifest,
    )
