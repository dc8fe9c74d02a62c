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
from workers.follower import follow
from workers.gang import ALONE, Gang, GangEnded, GangLost
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
    from workers.gang import Alone, GangPlace
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
    every step, and should look at few. `clock` measures durations, `now` dates logs. `gang` is the place of this
    process among several that train the trial together; they are given the same trial, evaluation and `along`.
    """

    store: Store
    sweep: str
    evaluation: Evaluation
    resources: Resources
    load_data: Callable[[Dataset], ResidentData]
    along: Along | None = None
    gang: GangPlace | None = None
    inception_weights: Path | None = None
    should_stop: Callable[[], bool] = _never
    report: Callable[[Progress], None] = _ignore
    checkpoint_seconds: float = 30.0
    provenance: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time


@functools.lru_cache(maxsize=1)
def _prepare_process() -> None:
    # torch imports its compiler for the first optimiser; a process pays for that once, and no trial is charged.
    torch.optim.Adam([torch.zeros(1)])


def run_trial(trial: Trial, context: Context) -> Outcome:
    """Do whatever is not yet done of a trial and its evaluation, and say how it ended.

    Another process that runs the same trial is waited for. Never raises for what the trial does; what it raised
    stands in `failure.json` with its trace. All ranks of a gang end with the same outcome; where one is lost, the
    others are interrupted, with the cause "gang".
    """
    _prepare_process()
    if context.gang is None:
        return _lead(trial, context, ALONE)
    try:
        with Gang(context.gang, trial.trial_id, context.should_stop) as gang:
            if gang.rank > 0:
                return follow(trial, context, gang)
            outcome = _lead(trial, context, gang)
            gang.end(outcome)
            return outcome
    except GangLost as lost:
        return Outcome("interrupted", str(lost), "gang")


def _lead(trial: Trial, context: Context, gang: Alone) -> Outcome:
    folder = context.store.trial(trial.trial_id)
    while not (context.should_stop() or gang.stop_asked()):
        with folder.try_lock() as held:
            if held:
                return _run_locked(trial, context, folder, gang)
        try:
            gang.look()
        except GangEnded as ended:
            return ended.outcome
        time.sleep(LOCK_POLL_SECONDS)
    return Outcome("stopped")


def _run_locked(trial: Trial, context: Context, folder: TrialFolder, gang: Alone) -> Outcome:
    manifest = folder.manifest()
    if manifest is not None and context.evaluation.eval_id in manifest.evaluations:
        return Outcome("done")
    folder.remove_unfinished_files()
    folder.remove(FAILURE)
    try:
        return _attempt(trial, context, folder, gang)
    except (StoreError, OSError, DeviceMissing) as error:
        # Disks, networks and machines are not the trial's fault.
        return Outcome("interrupted", str(error))


def _attempt(trial: Trial, context: Context, folder: TrialFolder, gang: Alone) -> Outcome:  # noqa: PLR0911 (one a cause)
    attempt = Attempt(trial, context, folder, gang)
    try:
        _run_with_the_others(attempt)
    except GangLost as lost:
        attempt.accountant.write("interrupted")
        return Outcome("interrupted", str(lost), "gang")
    except GangEnded as ended:
        if ended.outcome.state == "failed":
            return _failed(attempt, folder, context, ended.outcome.message, ended.trace)
        attempt.accountant.write("interrupted")
        return ended.outcome
    except Interrupted:
        attempt.accountant.write("interrupted")
        return Outcome("stopped")
    except (StoreError, OSError):
        raise
    except (TrialFailed, DataError) as error:
        return _failed(attempt, folder, context, str(error))
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: the trace is kept in failure.json)
        return _failed(attempt, folder, context, f"{type(error).__name__}: {error}")
    return Outcome("done")


def _run_with_the_others(attempt: Attempt) -> None:
    try:
        attempt.run()
    except GangLost:
        # One that failed has said why before it left.
        attempt.gang.look()
        raise


def _failed(attempt: Attempt, folder: TrialFolder, context: Context, message: str, trace: str = "") -> Outcome:
    record = {
        "attempt": attempt.accountant.attempt,
        "message": message,
        "traceback": trace or traceback.format_exc(),
        "failed_at": context.now(),
    }
    folder.write_json(FAILURE, record)
    attempt.accountant.write("failed")
    return Outcome("failed", f"{message} (trace in {folder.path / FAILURE})")
