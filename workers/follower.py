"""What the ranks of a gang do that are not its first: they train, and write nothing."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import torch

from workers.attempt import devices_of_a_rank, gang_state, measured_along
from workers.devices import choose_device
from workers.endings import ending_of
from workers.gang import GangEnded
from workers.training import train

if TYPE_CHECKING:
    from workers.gang import Gang
    from workers.outcome import Outcome
    from workers.run import Context
    from workers.trial import Trial


def follow(trial: Trial, context: Context, gang: Gang) -> Outcome:
    """Train beside rank 0, and return how it says that the trial ended. Raises GangLost where it is lost."""
    failure, trace = _train(trial, context, gang)
    if failure is not None:
        gang.report(failure, trace)
    return gang.await_outcome()


def _train(trial: Trial, context: Context, gang: Gang) -> tuple[Outcome | None, str]:
    """Return what went wrong on this rank, and its trace."""
    try:
        _train_beside(trial, context, gang)
    except GangEnded:
        return None, ""
    except Exception as error:  # noqa: BLE001 (the boundary of a worker: rank 0 keeps the trace in failure.json)
        return ending_of(error), traceback.format_exc()
    return None, ""


def _train_beside(trial: Trial, context: Context, gang: Gang) -> None:
    torch.set_num_threads(trial.training.threads)
    device = choose_device(context.resources.gpus)
    gang.tell_of(device, devices_of_a_rank(trial, context.resources, device))
    gang.meet()  # There is something to train.
    data = context.load_data(trial.dataset).to(device)
    gang.meet()
    state = gang_state(trial, data, device, gang, None)

    def wait_for_measurement() -> None:
        if context.along is not None and measured_along(state, context.along):
            gang.meet()

    def after_step() -> bool:
        due, stop = gang.any(False, context.should_stop())
        if due:
            gang.meet()
        return stop

    def after_epoch() -> None:
        state.finish_epoch(0.0)
        wait_for_measurement()

    wait_for_measurement()
    train(state, after_step=after_step, after_epoch=after_epoch)
