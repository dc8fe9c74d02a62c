"""`run_trial`: train, evaluate and commit one trial. A plain function, with or without Ray."""

from __future__ import annotations

import functools
import time
import traceback
from typing import TYPE_CHECKING

import torch

from workers.devices.devices import DeviceMissing
from workers.distributed.process_group import ProcessGroup
from workers.distributed.ranks import SINGLE_PROCESS, EndedByAnotherRank, RankLost
from workers.outcome import Cause, Interrupted, Outcome, TrialState
from workers.running.attempt import Attempt
from workers.running.failures import classify_failure
from workers.running.other_ranks import run_other_rank
from workers.store.layout import FAILURE
from workers.store.store import StoreError

if TYPE_CHECKING:
    from workers.distributed.ranks import SingleProcess
    from workers.running.context import Context
    from workers.store.store import TrialFolder
    from workers.trial import Trial

LOCK_POLL_SECONDS = 0.5


@functools.lru_cache(maxsize=1)
def _prepare_process() -> None:
    # torch imports its compiler for the first optimiser: once in a process, and not on a trial's account.
    torch.optim.Adam([torch.zeros(1)])


def run_trial(trial: Trial, context: Context) -> Outcome:
    """Do what is left of a trial and its evaluation, and return the outcome.

    Waits for another process that runs the same trial. Never raises errors of the trial: they are in `failure.json`
    with their trace. The message of a trial that is done names the metrics that failed. All ranks of a process group
    have the same outcome; if one is lost, the others are interrupted.
    """
    _prepare_process()
    if context.rank is None:
        return _lead(trial, context, SINGLE_PROCESS)
    try:
        with ProcessGroup(context.rank, trial.trial_id, context.should_stop) as group:
            if group.rank > 0:
                return run_other_rank(trial, context, group)
            outcome = _lead(trial, context, group)
            group.end(outcome)
            return outcome
    except RankLost as lost:
        return Outcome(TrialState.INTERRUPTED, str(lost), Cause.RANK_LOST)


def _lead(trial: Trial, context: Context, group: SingleProcess) -> Outcome:
    folder = context.store.trial(trial.trial_id)
    while not (context.should_stop() or group.stop_asked()):
        with folder.try_lock() as held:
            if held:
                return _run_locked(trial, context, folder, group)
        try:
            group.check()
        except EndedByAnotherRank as ended:
            return ended.outcome
        time.sleep(LOCK_POLL_SECONDS)
    return Outcome(TrialState.STOPPED)


def _run_locked(trial: Trial, context: Context, folder: TrialFolder, group: SingleProcess) -> Outcome:
    manifest = folder.manifest()
    if manifest is not None and context.evaluation.eval_id in manifest.evaluations:
        return Outcome(TrialState.DONE)
    folder.remove_unfinished_files()
    folder.remove(FAILURE)
    try:
        return _attempt(trial, context, folder, group)
    except (StoreError, OSError, DeviceMissing) as error:
        return classify_failure(error)


def _attempt(trial: Trial, context: Context, folder: TrialFolder, group: SingleProcess) -> Outcome:
    attempt = Attempt(trial, context, folder, group)
    trace = ""
    try:
        with attempt.log, attempt.accountant.sampling():
            _run_with_other_ranks(attempt)
    except Interrupted:
        outcome = Outcome(TrialState.STOPPED)
    except EndedByAnotherRank as ended:
        outcome, trace = ended.outcome, ended.trace
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: the trace is kept in failure.json)
        outcome, trace = classify_failure(error), traceback.format_exc()
    else:
        return Outcome(TrialState.DONE, "; ".join(map(str, attempt.failed_metrics)))
    if outcome.state == TrialState.FAILED:
        return _failed(attempt, folder, context, outcome.message, trace)
    if outcome.cause != Cause.STORE:  # then nothing can be written
        attempt.accountant.write(TrialState.INTERRUPTED)
    return outcome


def _run_with_other_ranks(attempt: Attempt) -> None:
    try:
        attempt.run()
    except RankLost:
        # A rank that failed reported why before it left.
        attempt.group.check()
        raise


def _failed(attempt: Attempt, folder: TrialFolder, context: Context, message: str, trace: str) -> Outcome:
    record = {
        "attempt": attempt.accountant.attempt,
        "evaluation": context.evaluation.eval_id if attempt.evaluating else None,
        "message": message,
        "traceback": trace,
        "failed_at": context.now(),
    }
    folder.write_json(FAILURE, record)
    attempt.accountant.write(TrialState.FAILED)
    return Outcome(TrialState.FAILED, f"{message} (trace in {folder.place(FAILURE)})")
