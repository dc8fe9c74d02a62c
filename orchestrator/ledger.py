"""What is done, running, failed and left: derived from the store, never kept a second time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.requests import cancelled_trials
from workers.trial_files import FAILURE, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orchestrator.plan import PlannedTrial
    from workers.store import Manifest, Store, TrialFolder

DONE, TRAINED, RUNNING, FAILED, CANCELLED, PENDING = "done", "trained", "running", "failed", "cancelled", "pending"
STATES = (DONE, TRAINED, RUNNING, FAILED, CANCELLED, PENDING)
"""`trained`: its training is done, the evaluation that the sweep asks for is not. `pending`: not begun, or stopped.
`cancelled`: not done, and not to be gone on with until that is taken back; one that is still running is `running`."""


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
        """Whether nothing is left to do: it is done, cancelled, or failed in a way that another try would repeat."""
        return self.state in (DONE, FAILED, CANCELLED)


def read_ledger(store: Store, trials: Iterable[PlannedTrial], sweep: str | None = None) -> dict[str, TrialStatus]:
    """Return the status of each planned trial by its id; only of a named `sweep` are some cancelled."""
    cancelled = cancelled_trials(store, sweep) if sweep is not None else frozenset()
    return {planned.trial_id: read_status(store, planned, cancelled) for planned in trials}


def read_status(store: Store, planned: PlannedTrial, cancelled: Collection[str] = ()) -> TrialStatus:
    """Return the status of one planned trial, where those in `cancelled` are."""
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
    is_cancelled = planned.trial_id in cancelled
    if not folder.path.is_dir():
        state = CANCELLED if is_cancelled else PENDING
        return TrialStatus(planned.trial_id, state, epochs=planned.trial.training.epochs)
    return _unfinished(folder, planned, manifest, is_cancelled=is_cancelled)


def count_states(statuses: Iterable[TrialStatus]) -> dict[str, int]:
    """Return how many trials are in each state; states without any are left out."""
    counts = Counter(status.state for status in statuses)
    return {state: counts[state] for state in STATES if counts[state]}


def _unfinished(
    folder: TrialFolder, planned: PlannedTrial, manifest: Manifest | None, *, is_cancelled: bool
) -> TrialStatus:
    failure: Mapping[str, Any] = folder.read_json(FAILURE) or {}
    progress: Mapping[str, Any] = folder.read_json(PROGRESS) or {}
    if _is_locked(folder):
        state = RUNNING
    elif is_cancelled:
        state = CANCELLED
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


def _is_locked(folder: TrialFolder) -> bool:
    # Whoever works on a trial holds its lock, and the operating system lets go of it when that process dies.
    if not (folder.path / ".lock").exists():
        return False
    with folder.try_lock() as held:
        return not held
