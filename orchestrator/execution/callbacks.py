"""Notifications of what happens to trials while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.outcome import Outcome, Progress


class Callback:
    """Is notified of what happens to trials while they run; a subclass overrides the events it needs."""

    def started(self, trial_id: str, ranks: int) -> None:
        """The trial runs on this number of workers."""

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """The trial has made progress."""

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:
        """An attempt at the trial was interrupted, the `attempts`-th; it will be retried."""

    def preempted(self, trial_id: str) -> None:
        """The trial has checkpointed for trials that go first; it will resume."""

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """The trial has ended and will not be retried."""

    def held_back(self, why: str) -> None:
        """Why none of the waiting trials may start now; empty where one may."""

    def stopping(self) -> None:
        """Running trials were asked to checkpoint and stop."""

    def tick(self) -> None:
        """Time has passed; called several times a second."""
