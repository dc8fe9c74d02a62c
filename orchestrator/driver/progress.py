"""A driver's output while it runs trials: a line for each event, and its status, live in a terminal."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from orchestrator.execution.callbacks import Callback
from orchestrator.monitoring.watch import SweepSnapshot, rendered, summary
from orchestrator.planning.labels import describe
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from rich.console import Console

    from orchestrator.monitoring.driver_status import DriverStatus
    from orchestrator.planning.plan import PlannedTrial
    from workers.outcome import Outcome

SUMMARY_SECONDS = 30.0
COLOURS: dict[str, str] = {TrialState.DONE: "green", TrialState.FAILED: "red"}


class ProgressView(Callback):
    """Prints what happens to the trials of a stage; `status` returns what the driver's heartbeat knows."""

    def __init__(
        self,
        console: Console,
        sweep: str,
        trials: Sequence[PlannedTrial],
        status: Callable[[], DriverStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._sweep = sweep
        self._names = {planned.trial_id: describe(planned) for planned in trials}
        self._status = status
        self._clock = clock
        self._shown_at = clock()
        self._ended = 0

    def shown(self) -> AbstractContextManager[object]:
        """Show the status live for the block where the console is a terminal."""
        if not self._console.is_terminal:
            return nullcontext()
        return Live(get_renderable=lambda: rendered(self._snapshot()), console=self._console, transient=True)

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:
        """Print why the trial was interrupted, and that it is retried."""
        self._print(TrialState.INTERRUPTED, f"{self._names[trial_id]}: {why} (attempt {attempts}); retrying")

    def preempted(self, trial_id: str) -> None:
        """Print that the trial was preempted."""
        self._print("preempted", f"{self._names[trial_id]}: checkpointed and preempted; will resume")

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """Print how the trial ended; the live status counts those that are done."""
        self._ended += 1
        if not self._console.is_terminal or outcome.state not in (TrialState.DONE, TrialState.STOPPED):
            detail = f": {outcome.message}" if outcome.message else ""
            self._print(outcome.state, f"{self._ended}/{len(self._names)} {self._names[trial_id]}{detail}")

    def stopping(self) -> None:
        """Print that the running trials are about to checkpoint."""
        self._print("stopping:", "running trials checkpoint first; press Ctrl-C again to exit immediately")

    def tick(self) -> None:
        """Print a summary every half minute where no live status is shown."""
        if not self._console.is_terminal and self._clock() - self._shown_at >= SUMMARY_SECONDS:
            self._shown_at = self._clock()
            self._console.print(summary(self._snapshot()), soft_wrap=True)

    def _print(self, state: str, line: str) -> None:
        # As Text, because a message may contain brackets, which rich would read as markup.
        self._console.print(Text.assemble((state, COLOURS.get(state, "yellow")), " ", line), soft_wrap=True)

    def _snapshot(self) -> SweepSnapshot:
        status = self._status()
        counts = {
            TrialState.DONE: status.done,
            TrialState.RUNNING: len(status.running),
            TrialState.FAILED: status.failed,
            TrialState.PENDING: status.waiting,
        }
        return SweepSnapshot(self._sweep, {state: n for state, n in counts.items() if n}, self._names, status)
