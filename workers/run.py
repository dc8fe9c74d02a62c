"""`run_trial`: train, evaluate and commit one trial. A plain function, the same under Ray and without it."""

from __future__ import annotations

import functools
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from workers.attempt import Attempt
from workers.data.dataset import DataError
from workers.devices import DeviceMissing
from workers.measuring import Interrupted
from workers.outcome import Outcome
from workers.store import StoreError
from workers.training import TrialFailed
from workers.trial_files import FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from workers.data.dataset import Dataset
    from workers.data.split import ResidentData
    from workers.gang import GangPlace
    from workers.outcome import Progress
    from workers.store import Store, TrialFolder
    from workers.trial import Along, Evaluation, Resources, Trial

LOCK_POLL_SECONDS = 0.5


def _never() -> bool:
    return False


def _ignore(_: Progress) -> None:
    return


@dataclass(frozen=True)
class Context:
    """What a trial needs from its surroundings; none of it is part of its identity.

    `along` is what is measured during training. `inception_weights` is the file of them. `load_data` may cache.
    `should_stop` is asked after every step; when it turns true the trial checkpoints and returns. `report` hears of
    every step. `gang` is this process's place where several train the trial together. `clock` measures durations,
    `now` dates logs.
    """

    store: Store
    sweep: str
    evaluation: Evaluation
    resources: Resources
    load_data: Callable[[Dataset], ResidentData]
    along: Along | None = None
    inception_weights: Path | None = None
    should_stop: Callable[[], bool] = _never
    report: Callable[[Progress], None] = _ignore
    checkpoint_seconds: float = 30.0
    provenance: Mapping[str, str] = field(default_factory=dict)
    gang: GangPlace | None = None
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time


@functools.lru_cache(maxsize=1)
def _prepare_process() -> None:
    # torch imports its compiler for the first optimiser; a process pays for that once, and no trial is charged.
    torch.optim.Adam([torch.zeros(1)])


def run_trial(trial: Trial, context: Context) -> Outcome:
    """Do whatever is not yet done of a trial and its evaluation, and say how it ended.

    Another process that runs the same trial is waited for. Never raises for what the trial does; what it raised
    stands in `failure.json` with its trace.
    """
    _prepare_process()
    folder = context.store.trial(trial.trial_id)
    while not context.should_stop():
        with folder.try_lock() as held:
            if held:
                return _run_locked(trial, context, folder)
        time.sleep(LOCK_POLL_SECONDS)
    return Outcome("stopped")


def _run_locked(trial: Trial, context: Context, folder: TrialFolder) -> Outcome:
    manifest = folder.manifest()
    if manifest is not None and context.evaluation.eval_id in manifest.evaluations:
        return Outcome("done")
    folder.remove_unfinished_files()
    folder.remove(FAILURE)
    try:
        return _attempt(trial, context, folder)
    # Disks, networks and machines are not the trial's fault.
    except DeviceMissing as error:
        return Outcome("interrupted", str(error), "machine")
    except (StoreError, OSError) as error:
        return Outcome("interrupted", str(error), "store")


def _attempt(trial: Trial, context: Context, folder: TrialFolder) -> Outcome:
    attempt = Attempt(trial, context, folder)
    try:
        with attempt.log:
            attempt.run()
    except Interrupted:
        attempt.accountant.write("interrupted")
        return Outcome("stopped")
    except (StoreError, OSError):
        raise
    except torch.OutOfMemoryError as error:
        # Who else uses the device decides it too, so once more may do.
        attempt.accountant.write("interrupted")
        return Outcome("interrupted", f"its device ran out of memory: {str(error).splitlines()[0]}", "memory")
    except (TrialFailed, DataError) as error:
        return _failed(attempt, folder, context, str(error))
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: the trace is kept in failure.json)
        return _failed(attempt, folder, context, f"{type(error).__name__}: {error}")
    return Outcome("done")


def _failed(attempt: Attempt, folder: TrialFolder, context: Context, message: str) -> Outcome:
    record = {
        "attempt": attempt.accountant.attempt,
        "message": message,
        "traceback": traceback.format_exc(),
        "failed_at": context.now(),
    }
    folder.write_json(FAILURE, record)
    attempt.accountant.write("failed")
    return Outcome("failed", f"{message} (trace in {folder.place(FAILURE)})")
