"""Who hears what happens to trials while they run: the progress view, the pulse, MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.outcome import Outcome, Progress


class Listener(Protocol):
    """Hears what happens to trials while they run."""

    def started(self, trial_id: str, ranks: int) -> None:
        """A worker has taken up the trial, or so many."""

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """The trial has come further."""

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:
        """An attempt at the trial has ended before its time; the trial will be tried again."""

    def preempted(self, trial_id: str) -> None:
        """The trial has checkpointed and made room for others; it waits to go on."""

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """The trial's attempt has ended for good."""

    def held_back(self, why: str) -> None:
        """Why none of the waiting trials may start now; empty where one may."""

    def stopping(self) -> None:
        """Running trials were asked to checkpoint and stop."""

    def tick(self) -> None:
        """Time passes; called several times a second."""


class Listeners:
    """Several listeners as one."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def started(self, trial_id: str, ranks: int) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.started(trial_id, ranks)

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.progressed(trial_id, progress)

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.interrupted(trial_id, attempts, why)

    def preempted(self, trial_id: str) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.preempted(trial_id)

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.ended(trial_id, outcome)

    def held_back(self, why: str) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.held_back(why)

    def stopping(self) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.stopping()

    def tick(self) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.tick()
