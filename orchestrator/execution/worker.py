"""A worker: runs jobs in its process, one at a time, and answers about them. Plain Python, without Ray."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.data.inception_weights import weights_below
from workers.outcome import Cause, Outcome, TrialState
from workers.store.store import Store
from workers.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.data.dataset import Dataset
    from workers.data.split import ResidentData
    from workers.distributed.ranks import RankInfo
    from workers.outcome import Progress
    from workers.running.context import Context
    from workers.trial import Evaluation, IntermediateEvaluation, Resources


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of all workers of a run; plain values, because they are sent to other processes."""

    store: str
    sweep: str
    data_root: str
    checkpoint_seconds: float
    verbose: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A planned trial as it is sent to a worker."""

    trial_id: str
    trial: Mapping[str, Any]
    evaluation: Evaluation
    resources: Resources
    intermediate_evaluation: IntermediateEvaluation | None = None


@dataclass(frozen=True)
class WorkerCallbacks:
    """A job's connection to its driver; `rank` is given if several processes run the job."""

    should_stop: Callable[[], bool]
    report: Callable[[Progress], None]
    rank: RankInfo | None = None


@dataclass(frozen=True)
class JobStatus:
    """The progress of a running job, and the seconds since its last heartbeat."""

    key: str
    progress: Progress | None
    seconds_since_heartbeat: float


class Worker:
    """Runs one job at a time in one thread, and answers about it in another.

    A job asks after every step whether to stop: that is its heartbeat.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running = ""
        self._to_stop = ""
        self._terminating = False
        self._progress: Progress | None = None
        self._heartbeat_at = clock()

    def run(
        self,
        key: str,
        work: Callable[[Job, WorkerSettings, WorkerCallbacks], Outcome],
        job: Job,
        settings: WorkerSettings,
        rank: RankInfo | None = None,
    ) -> Outcome:
        """Run a job to its end; `stop` is called with the same `key`."""
        self._progress, self._heartbeat_at, self._running = None, self._clock(), key
        try:
            outcome = work(job, settings, WorkerCallbacks(self._should_stop, self._report, rank))
        finally:
            self._running = ""
        if outcome.state == TrialState.STOPPED and self._terminating:
            return Outcome(TrialState.INTERRUPTED, cause=Cause.TERMINATED)
        return outcome

    def status(self) -> JobStatus:
        """Return the status of the running job."""
        return JobStatus(self._running, self._progress, self._clock() - self._heartbeat_at)

    def stop(self, key: str) -> None:
        """Make the job of this key checkpoint and stop, also if it has not begun yet."""
        self._to_stop = key

    def terminate(self) -> bool:
        """Make the running job checkpoint and stop, because this process must end; returns whether one runs."""
        self._terminating = True
        return bool(self._running)

    def _should_stop(self) -> bool:
        self._heartbeat_at = self._clock()
        return self._terminating or self._to_stop == self._running

    def _report(self, progress: Progress) -> None:
        self._progress = progress


def run_job(job: Job, settings: WorkerSettings, callbacks: WorkerCallbacks) -> Outcome:
    """Run a trial, and return how it ended."""
    # Imports torch, which the driver does not need.
    from workers.running.run import run_trial

    try:
        trial = Trial.from_json(job.trial)
        trial.check_numerics()
    except (KeyError, TypeError, ValueError) as error:
        # The worker has another release, or lacks a plug-in.
        message = f"its worker cannot build the trial ({error!r}); install the same packages there as here"
        return Outcome(TrialState.FAILED, message)
    return run_trial(trial, _context(job, settings, callbacks))


@functools.lru_cache(maxsize=4)
def _load(dataset: Dataset, root: str) -> ResidentData:
    return dataset.load(Path(root))


def _context(job: Job, settings: WorkerSettings, callbacks: WorkerCallbacks) -> Context:
    from workers.running.context import Context

    return Context(
        store=Store.at(settings.store),
        sweep=settings.sweep,
        evaluation=job.evaluation,
        resources=job.resources,
        intermediate_evaluation=job.intermediate_evaluation,
        inception_weights=weights_below(Path(settings.data_root)),
        load_data=lambda dataset: _load(dataset, settings.data_root),
        should_stop=callbacks.should_stop,
        report=callbacks.report,
        checkpoint_seconds=settings.checkpoint_seconds,
        verbose=settings.verbose,
        provenance=settings.provenance,
        rank=callbacks.rank,
    )
