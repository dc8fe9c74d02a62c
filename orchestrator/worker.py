"""What a worker process does with a job: plain Python around `run_trial`, whatever started the process."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.inception import weights_below
from workers.outcome import Outcome
from workers.store import Store
from workers.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.data.dataset import Dataset
    from workers.data.split import ResidentData
    from workers.gang import GangPlace
    from workers.outcome import Progress
    from workers.run import Context
    from workers.trial import Along, Evaluation, Resources


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is told; plain values, because they travel to other processes."""

    store: str
    sweep: str
    data_root: str
    checkpoint_seconds: float
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A planned trial as it travels to a worker."""

    trial_id: str
    trial: Mapping[str, Any]
    evaluation: Evaluation
    resources: Resources
    along: Along | None = None


@dataclass(frozen=True)
class Rank:
    """A process's place among those that train one trial together: which of how many, and where they meet."""

    number: int
    of: int
    address: str


@dataclass(frozen=True)
class Hooks:
    """How a job hears of the driver's wishes and is heard; `rank` is its place where several processes run it."""

    should_stop: Callable[[], bool]
    report: Callable[[Progress], None]
    rank: Rank | None = None


@dataclass(frozen=True)
class Look:
    """How a job stands: how far it is, and the seconds since it last showed life."""

    key: str
    progress: Progress | None
    seconds_since_beat: float


class Worker:
    """Runs one job at a time in one thread, and answers about it in another.

    A job's asking whether to stop, which it does after every step, is its sign of life.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running = ""
        self._to_stop = ""
        self._terminating = False
        self._progress: Progress | None = None
        self._beat_at = clock()

    def run(
        self,
        key: str,
        work: Callable[[Job, WorkerSettings, Hooks], Outcome],
        job: Job,
        settings: WorkerSettings,
        rank: Rank | None = None,
    ) -> Outcome:
        """Run a job to its end; `key` is what `stop` calls it by."""
        self._progress, self._beat_at, self._running = None, self._clock(), key
        try:
            outcome = work(job, settings, Hooks(self._should_stop, self._report, rank))
        finally:
            self._running = ""
        if outcome.state == "stopped" and self._terminating:
            return Outcome("interrupted", cause="terminated")
        return outcome

    def look(self) -> Look:
        """Return how the running job stands."""
        return Look(self._running, self._progress, self._clock() - self._beat_at)

    def stop(self, key: str) -> None:
        """Make the job of this key checkpoint and stop, also where it is yet to begin."""
        self._to_stop = key

    def terminate(self) -> bool:
        """Make whatever runs checkpoint and stop, because this process must end; returns whether anything runs."""
        self._terminating = True
        return bool(self._running)

    def _should_stop(self) -> bool:
        self._beat_at = self._clock()
        return self._terminating or self._to_stop == self._running

    def _report(self, progress: Progress) -> None:
        self._progress = progress


def run_job(job: Job, settings: WorkerSettings, hooks: Hooks) -> Outcome:
    """Run a trial, and return how it ended."""
    # Imported here because it imports torch, which the driver has no use for.
    from workers.run import run_trial

    try:
        trial = Trial.from_json(job.trial)
    except (KeyError, TypeError, ValueError) as error:
        # Another release, or a plug-in that is not installed where this worker runs.
        message = f"its worker cannot make the trial ({error!r}); install there what is installed here"
        return Outcome("failed", message)
    return run_trial(trial, _context(job, settings, hooks))


@functools.lru_cache(maxsize=4)
def _load(dataset: Dataset, root: str) -> ResidentData:
    return dataset.load(Path(root))


def _context(job: Job, settings: WorkerSettings, hooks: Hooks) -> Context:
    from workers.run import Context

    return Context(
        store=Store.at(settings.store),
        sweep=settings.sweep,
        evaluation=job.evaluation,
        resources=job.resources,
        along=job.along,
        inception_weights=weights_below(Path(settings.data_root)),
        load_data=lambda dataset: _load(dataset, settings.data_root),
        should_stop=hooks.should_stop,
        report=hooks.report,
        checkpoint_seconds=settings.checkpoint_seconds,
        provenance=settings.provenance,
        gang=_gang_place(hooks.rank) if hooks.rank is not None else None,
    )


def _gang_place(rank: Rank) -> GangPlace:
    from workers.gang import GangPlace

    return GangPlace(rank.number, rank.of, rank.address)
