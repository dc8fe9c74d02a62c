"""Checkpoints during training: when one is due, and what is written before it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.accounting.accountant import Accountant
    from workers.training.checkpoint import Checkpoint, TrainingCheckpoints
    from workers.training.state import TrainingState

LOGGER = logging.getLogger(__name__)
CHECKPOINT_SHARE = 50
"""The time between checkpoints is at least this many times that of writing one: they cost 2 % of training at most."""


class Checkpointer:
    """Saves the training state of one attempt, and counts the seconds that the trial has trained in all attempts."""

    def __init__(
        self,
        files: TrainingCheckpoints,
        accountant: Accountant,
        interval_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._files, self._accountant = files, accountant
        self._interval_seconds, self._clock = interval_seconds, clock
        self._saved_at = clock()
        self._duration = self._earlier_seconds = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for the next one."""
        interval = max(self._interval_seconds, CHECKPOINT_SHARE * self._duration)
        return self._clock() - self._saved_at >= interval

    @property
    def train_seconds(self) -> float:
        """The seconds of training that the state holds, those of earlier attempts included."""
        return self._earlier_seconds + self._accountant.seconds("train")

    def latest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint of earlier attempts."""
        with self._accountant.phase("checkpoint"):
            checkpoint = self._files.latest()
        if checkpoint is not None:
            self._earlier_seconds = float(checkpoint.progress["train_seconds"])
        return checkpoint

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint."""
        started, train_seconds = self._clock(), self.train_seconds
        with self._accountant.phase("checkpoint"):
            # Before the checkpoint: no attempt may resume from a step whose cost was not recorded.
            self._accountant.write(TrialState.RUNNING)
            self._files.save(state.step, state.checkpoint(train_seconds))
        self._saved_at = self._clock()
        self._duration = self._saved_at - started
        LOGGER.debug("checkpoint of step %d written in %.2f s", state.step, self._duration)
