"""The ranks of a process group other than rank 0: they train, and write nothing."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import torch

from workers.devices.devices import choose_device
from workers.distributed.ranks import EndedByAnotherRank
from workers.running.failures import classify_failure
from workers.running.rank import due_intermediate_evaluation, resumed_state
from workers.training.state import train

if TYPE_CHECKING:
    from workers.distributed.process_group import ProcessGroup
    from workers.outcome import Outcome
    from workers.running.context import Context
    from workers.trial import Trial


def run_other_rank(trial: Trial, context: Context, group: ProcessGroup) -> Outcome:
    """Train with rank 0, and return its outcome of the trial. Raises RankLost if rank 0 is lost."""
    failure, trace = _train(trial, context, group)
    if failure is not None:
        group.report(failure, trace)
    return group.await_outcome()


def _train(trial: Trial, context: Context, group: ProcessGroup) -> tuple[Outcome | None, str]:
    """Return the failure of this rank, if any, and its trace."""
    try:
        _train_beside(trial, context, group)
    except EndedByAnotherRank:
        return None, ""
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: rank 0 keeps the trace in failure.json)
        return classify_failure(error), traceback.format_exc()
    return None, ""


def _train_beside(trial: Trial, context: Context, group: ProcessGroup) -> None:
    torch.set_num_threads(trial.training.threads)
    device = choose_device(context.resources.gpus)
    group.measure(device, context.resources.rank_devices(trial.training))
    group.meet()  # There is something to train.
    data = context.load_data(trial.dataset).to(device)
    group.meet()
    state = resumed_state(trial, data, device, group, None)

    def pause_for_evaluation() -> None:
        if due_intermediate_evaluation(state, context) is not None:
            group.meet()

    def after_step() -> bool:
        due, stop = group.any(False, context.should_stop())
        if due:
            group.meet()
        return stop

    def after_epoch() -> None:
        state.finish_epoch(0.0)
        pause_for_evaluation()

    pause_for_evaluation()
    train(state, after_step=after_step, after_epoch=after_epoch)
