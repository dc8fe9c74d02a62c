"""What a worker process does with a job: plain Python around `run_trial`, whatever started the process."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.inception import weights_below
from workers.store import Store
from workers.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.data.dataset import Dataset
    from workers.data.split import ResidentData
    from workers.outcome import Progress
    from workers.run import Context
    from workers.trial import Along, Evaluation, Resources

REPORT_SECONDS = 1.0
STOP_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is told; plain values, because they travel to other processes."""

    store: str
    sweep: str
    data_root: str
    stop_file: str
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


def run_job(job: Job, settings: WorkerSettings, report: Callable[[dict[str, Any]], None]) -> None:
    """Run a trial, reporting its progress now and then and its outcome at the end, as plain values."""
    # Imported here because it imports torch, which the driver has no use for.
    from workers.run import run_trial

    try:
        trial = Trial.from_json(job.trial)
    except (KeyError, TypeError, ValueError) as error:
        # Another release, or a plug-in that is not installed where this worker runs.
        message = f"its worker cannot make the trial ({error!r}); install there what is installed here"
        report({"state": "failed", "message": message})
        return
    outcome = run_trial(trial, _context(job, settings, report))
    report({"state": outcome.state, "message": outcome.message})


@functools.lru_cache(maxsize=4)
def _load(dataset: Dataset, root: str) -> ResidentData:
    return dataset.load(Path(root))


def _context(job: Job, settings: WorkerSettings, report: Callable[[dict[str, Any]], None]) -> Context:
    from workers.run import Context

    return Context(
        store=Store.at(settings.store),
        sweep=settings.sweep,
        evaluation=job.evaluation,
        resources=job.resources,
        along=job.along,
        inception_weights=weights_below(Path(settings.data_root)),
        load_data=lambda dataset: _load(dataset, settings.data_root),
        should_stop=_StopPoll(Path(settings.stop_file)),
        report=_ThrottledReport(report),
        checkpoint_seconds=settings.checkpoint_seconds,
        provenance=settings.provenance,
    )


class _StopPoll:
    """Looks for the stop file, but not at every step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked_at = -STOP_POLL_SECONDS
        self._found = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._found and now - self._looked_at >= STOP_POLL_SECONDS:
            self._looked_at = now
            self._found = self._path.exists()
        return self._found


class _ThrottledReport:
    """Reports progress to Tune, which makes the training wait for the driver, about once a second."""

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        self._report = report
        self._reported_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._report({"epoch": progress.epoch, "epochs": progress.epochs, "elbo": progress.elbo})
