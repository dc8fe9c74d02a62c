"""Steps that every rank of a trial takes: resume from rank 0's checkpoint, pause for intermediate evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.training.checkpoint import Checkpoint
from workers.training.state import TrainingState

if TYPE_CHECKING:
    import torch

    from workers.data.split import ResidentData
    from workers.distributed.ranks import SingleProcess
    from workers.running.context import Context
    from workers.trial import IntermediateEvaluation, Trial


def resumed_state(
    trial: Trial, data: ResidentData, device: torch.device, group: SingleProcess, earlier: Checkpoint | None
) -> TrainingState:
    """Return the training state of a rank, resumed from rank 0's checkpoint if there is one. All ranks call it."""
    group.connect(device)
    state = TrainingState(trial, data.train, device, group)
    if group.size > 1:
        # Every rank resumes from the bytes that rank 0 read; the store may answer another rank differently.
        content = group.broadcast_bytes(earlier.to_bytes() if earlier is not None else b"")
        earlier = Checkpoint.from_bytes(content) if content else None
    if earlier is not None:
        state.restore(earlier)
    return state


def due_intermediate_evaluation(state: TrainingState, context: Context) -> IntermediateEvaluation | None:
    """Return the intermediate evaluation that is due after the epochs trained so far, None where none is."""
    intermediate = context.intermediate_evaluation
    if intermediate is None or state.step_in_epoch:
        return None
    return intermediate if len(state.history) in intermediate.epochs(state.trial.training.epochs) else None
