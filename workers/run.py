"""`run_trial`: train, evaluate and commit one trial. A plain function, the same under Ray and without it."""

from __future__ import annotations

import functools
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from workers.attempt import Attempt
from workers.devices import DeviceMissing
from workers.endings import ending_of
from workers.follower import follow
from workers.gang import ALONE, Gang, GangEnded, GangLost
from workers.measuring import Interrupted
from workers.outcome import Outcome
from workers.store import StoreError
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
    every step. `gang` is the place of this process among several that train the trial together; they are given the
    same trial, evaluation and `along`. `clock` measures durations, `now` dates logs.
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
        return ending_of(error)


def _attempt(trial: Trial, context: Context, folder: TrialFolder, gang: Alone) -> Outcome:
    attempt = Attempt(trial, context, folder, gang)
    trace = ""
    try:
        with attempt.log, attempt.accountant.sampling():
            _run_with_the_others(attempt)
    except Interrupted:
        outcome = Outcome("stopped")
    except GangEnded as ended:
        outcome, trace = ended.outcome, ended.trace
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: the trace is kept in failure.json)
        outcome, trace = ending_of(error), traceback.format_exc()
    else:
        return Outcome("done")
    if outcome.state == "failed":
        return _failed(attempt, folder, context, outcome.message, trace)
    if outcome.cause != "store":  # where nothing can be written
        attempt.accountant.write("interrupted")
    return outcome


def _run_with_the_others(attempt: Attempt) -> None:
    try:
        attempt.run()
    except GangLost:
        # One that failed has said why before it left.
        attempt.gang.look()
        raise


def _failed(attempt: Attempt, folder: TrialFolder, context: Context, message: str, trace: str) -> Outcome:
    record = {
        "attempt": attempt.accountant.attempt,
        "message": message,
        "traceback": trace,
        "failed_at": context.now(),
    }
    folder.write_json(FAILURE, record)
    attempt.accountant.write("failed")
    return Outcome("failed", f"{message} (trace in {folder.place(FAILURE)})")
