"""The state of each planned trial, derived from the store and kept nowhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.sweeps.control_files import cancelled_trials
from workers.outcome import TrialState
from workers.store.failures import failed_in, read_failed_metrics
from workers.store.layout import FAILURE, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from orchestrator.planning.plan import PlannedTrial
    from workers.store.failures import FailedMetric
    from workers.store.json_files import Record
    from workers.store.manifest import Manifest
    from workers.store.store import Store, TrialFolder


class TrialKey(NamedTuple):
    """What the status of a trial is read by: its id, the evaluation that its sweep asks for, and its planned epochs."""

    trial_id: str
    eval_id: str
    epochs: int = 0


@dataclass(frozen=True)
class TrialStatus:
    """The state of one planned trial. `epoch` and `elbo` are those last written while it trained.

    A trial that is done may lack metrics that failed; `message` then says why.
    """

    trial_id: str
    state: TrialState
    message: str = ""
    attempts: int = 0
    epoch: float = 0.0
    epochs: int = 0
    elbo: float | None = None
    started_at: float | None = None
    manifest: Manifest | None = None
    failed_metrics: tuple[FailedMetric, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it is done, with every metric that was asked for."""
        return self.state == TrialState.DONE and not self.failed_metrics

    @property
    def can_be_retried(self) -> bool:
        """Whether something ended it, or a metric, which only a retry undoes."""
        return self.state in (TrialState.FAILED, TrialState.CANCELLED) or bool(self.failed_metrics)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: it is done, cancelled, or failed in a way that another try would repeat."""
        return self.state in (TrialState.DONE, TrialState.FAILED, TrialState.CANCELLED)


def read_statuses(store: Store, trials: Iterable[PlannedTrial], sweep: str | None = None) -> dict[str, TrialStatus]:
    """Return the status of each planned trial by its id; only of a named `sweep` are some cancelled."""
    return read_statuses_by_key(store, map(key_of, trials), sweep)


def read_statuses_by_key(store: Store, keys: Iterable[TrialKey], sweep: str | None) -> dict[str, TrialStatus]:
    """Return the status of each trial by its id, as `read_statuses` does, without a plan."""
    cancelled = cancelled_trials(store, sweep) if sweep is not None else frozenset()
    statuses = store.map(lambda key: _read_status(store, key, cancelled), keys)
    return {status.trial_id: status for status in statuses}


def read_status(store: Store, planned: PlannedTrial, cancelled: Collection[str] = ()) -> TrialStatus:
    """Return the status of one planned trial, where those in `cancelled` are."""
    return _read_status(store, key_of(planned), cancelled)


def key_of(planned: PlannedTrial) -> TrialKey:
    """Return what the status of a planned trial is read by."""
    return TrialKey(planned.trial_id, planned.evaluation.eval_id, planned.trial.training.epochs)


def _read_status(store: Store, key: TrialKey, cancelled: Collection[str]) -> TrialStatus:
    folder = store.trial(key.trial_id)
    manifest = folder.manifest()
    if manifest is not None and key.eval_id in manifest.evaluations:
        failed = read_failed_metrics(folder, manifest, key.eval_id)
        return TrialStatus(
            key.trial_id,
            TrialState.DONE,
            message="; ".join(map(str, failed)),
            attempts=manifest.attempts,
            epoch=key.epochs,
            epochs=key.epochs,
            started_at=manifest.started_at,
            manifest=manifest,
            failed_metrics=failed,
        )
    is_cancelled = key.trial_id in cancelled
    if not folder.exists():
        state = TrialState.CANCELLED if is_cancelled else TrialState.PENDING
        return TrialStatus(key.trial_id, state, epochs=key.epochs)
    return _unfinished(folder, key, manifest, is_cancelled=is_cancelled)


def count_states(statuses: Iterable[TrialStatus]) -> dict[str, int]:
    """Return how many trials are in each state; states without any are left out."""
    counts = Counter(status.state for status in statuses)
    return {state: counts[state] for state in TrialState if counts[state]}


def failed_metrics_note(sweep: str, statuses: Iterable[TrialStatus]) -> str:
    """Return which metrics finished trials of a sweep lack because they failed, and the next step; empty if none."""
    lacking = [status for status in statuses if status.failed_metrics]
    if not lacking:
        return ""
    names = ", ".join(sorted({failed.metric for status in lacking for failed in status.failed_metrics}))
    trials = "1 finished trial lacks" if len(lacking) == 1 else f"{len(lacking):,} finished trials lack"
    return (
        f"{trials} results that failed: {names}. All other results are kept. After a change, `mrvae-orch retry {sweep} "
        "--failed` evaluates again without training; or submit the spec without them."
    )


def _message(folder: TrialFolder, state: TrialState, failure: Record) -> str:
    if state == TrialState.FAILED:
        return failure.text("message")
    if state == TrialState.PENDING and folder.exists(folder.MANIFEST):
        return "its result is damaged, and counts as not there: submit again to restore it"
    return ""


def _unfinished(folder: TrialFolder, key: TrialKey, manifest: Manifest | None, *, is_cancelled: bool) -> TrialStatus:
    failure, progress = folder.read_record(FAILURE), folder.read_record(PROGRESS)
    if folder.is_locked():
        state = TrialState.RUNNING
    elif is_cancelled:
        state = TrialState.CANCELLED
    elif failure and failed_in(failure, key.eval_id):
        state = TrialState.FAILED
    else:
        state = TrialState.TRAINED if manifest is not None else TrialState.PENDING
    return TrialStatus(
        key.trial_id,
        state,
        message=_message(folder, state, failure),
        attempts=int(failure.number("attempt") or progress.number("attempt") or 0),
        epoch=progress.number("epoch") or 0.0,
        epochs=key.epochs,
        elbo=progress.number("elbo"),
        started_at=progress.number("started_at") or failure.number("failed_at"),
        manifest=manifest,
    )
