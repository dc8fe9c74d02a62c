"""The live view of a run: a table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from orchestrator.plan import PlannedTrial
    from workers.outcome import Outcome, Progress

LIVE_SECONDS, PLAIN_SUMMARY_SECONDS = 0.25, 30.0
SHOWN_RUNNING = 16


@dataclass(frozen=True)
class _Running:
    started_at: float
    epoch: float = 0.0
    epochs: int = 0
    elbo: float | None = None

    @property
    def share(self) -> float:
        return self.epoch / self.epochs if self.epochs else 0.0


class ProgressView:
    """Hears of trials as `listeners.Listener` and shows how the run stands.

    `seconds` are the expected seconds of each trial; what has ended so far corrects them.
    """

    def __init__(
        self,
        console: Console,
        trials: Sequence[PlannedTrial],
        seconds: Mapping[str, float],
        slots: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._names = {planned.trial_id: describe(planned) for planned in trials}
        self._expected = seconds
        self._slots = max(1.0, slots)
        self._clock = clock
        self._begun_at = self._shown_at = clock()
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, str] = {}
        self._interruptions = 0
        self._why = ""
        self._spent_expected = self._spent_actual = 0.0
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view for the block: live where the console is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._render(), console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def started(self, trial_id: str, ranks: int = 1) -> None:  # noqa: ARG002 (the listener's)
        """Show that the trial runs."""
        self._running[trial_id] = _Running(self._clock())
        self._refresh()

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """Show how far the trial is."""
        running = self._running.get(trial_id, _Running(self._clock()))
        self._running[trial_id] = replace(running, epoch=progress.epoch, epochs=progress.epochs, elbo=progress.elbo)
        self._refresh()

    def interrupted(self, trial_id: str, attempts: int, why: str = "its worker died") -> None:
        """Say why the trial was interrupted, and that it goes on from its last checkpoint."""
        self._running.pop(trial_id, None)
        self._interruptions += 1
        self._say("interrupted", "yellow", f"{self._names[trial_id]}: {why} (try {attempts}); going on")

    def preempted(self, trial_id: str) -> None:
        """Say that the trial has made room for others."""
        self._running.pop(trial_id, None)
        self._say("preempted", "yellow", f"{self._names[trial_id]}: saved, to make room; it goes on later")

    def held_back(self, why: str) -> None:
        """Keep in mind why nothing may start."""
        self._why = why

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """Say how the trial ended."""
        running = self._running.pop(trial_id, None)
        self._ended[trial_id] = outcome.state
        if running is not None and outcome.state == "done":
            self._spent_expected += self._expected.get(trial_id, 0.0)
            self._spent_actual += self._clock() - running.started_at
        colour = {"done": "green", "stopped": "yellow"}.get(outcome.state, "red")
        count = f"{len(self._ended)}/{len(self._names)}"
        detail = f": {outcome.message}" if outcome.message else ""
        if self._live is None or outcome.state not in ("done", "stopped"):
            self._say(outcome.state, colour, f"{count} {self._names[trial_id]}{detail}")
        self._refresh()

    def tick(self) -> None:
        """Show how time passes; called often."""
        self._refresh()

    def stopping(self) -> None:
        """Say that the running trials are about to checkpoint."""
        self._say("stopping:", "yellow", "running trials checkpoint first; press Ctrl-C again to leave at once")

    def seconds_left(self) -> float | None:
        """Return the expected seconds until all trials have ended, or None before anything tells.

        The expectations are corrected by how the trials that ended, and those that run, compare with theirs.
        """
        now = self._clock()
        actual, expected = self._spent_actual, self._spent_expected
        begun = 0.0
        for trial_id, running in self._running.items():
            part = self._expected.get(trial_id, 0.0) * running.share
            begun += part
            if part:
                actual, expected = actual + now - running.started_at, expected + part
        waiting = sum(self._expected.get(trial_id, 0.0) for trial_id in self._names if trial_id not in self._ended)
        if not waiting:
            return None
        return (waiting - begun) * (actual / expected if expected else 1.0) / self._slots

    def _refresh(self) -> None:
        since = self._clock() - self._shown_at
        if self._live is not None and since >= LIVE_SECONDS:
            self._shown_at = self._clock()
            self._live.update(self._render())
        elif self._live is None and since >= PLAIN_SUMMARY_SECONDS:
            self._shown_at = self._clock()
            self._console.print(self._summary())

    def _say(self, state: str, colour: str, line: str) -> None:
        # As Text, because a message may hold brackets, which rich would read as markup.
        self._console.print(Text.assemble((state, colour), " ", line), soft_wrap=True)

    def _summary(self) -> Text:
        counts = {state: list(self._ended.values()).count(state) for state in ("done", "failed")}
        waiting = len(self._names) - len(self._ended) - len(self._running)
        parts = [
            f"{counts['done']} of {len(self._names)} done",
            f"{len(self._running)} running",
            f"{waiting} waiting",
            f"{counts['failed']} failed",
        ]
        if self._interruptions:
            parts.append(f"{self._interruptions} interruptions")
        left = self.seconds_left()
        parts.append(f"{duration(self._clock() - self._begun_at)} gone")
        if left is not None:
            parts.append(f"about {duration(left)} left")
        if waiting and not self._running and self._why:
            parts.append(self._why)
        return Text(" · ".join(parts))

    def _render(self) -> Group:
        table = Table(expand=False)
        for column, justify in (("running", "left"), ("epoch", "right"), ("ELBO", "right"), ("for", "right")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich wants the literal
        for trial_id, running in list(self._running.items())[:SHOWN_RUNNING]:
            epoch = f"{running.epoch:.1f}/{running.epochs}" if running.epochs else "…"
            elbo = f"{running.elbo:.2f}" if running.elbo is not None else ""
            table.add_row(self._names[trial_id], epoch, elbo, duration(self._clock() - running.started_at))
        if len(self._running) > SHOWN_RUNNING:
            table.add_row(f"… and {len(self._running) - SHOWN_RUNNING} more", "", "", "")
        return Group(self._summary(), table)


def describe(planned: PlannedTrial) -> str:
    """Return a trial's short name for people: its curve, β, seed and the start of its id."""
    betas = planned.trial.method.trained_betas
    span = f"β {betas[0]:.3g}" if len(betas) == 1 else f"β {betas[0]:.3g}…{betas[-1]:.3g}"
    return f"{planned.series}, {span}, seed {planned.trial.seed} ({planned.trial_id[:8]})"


def duration(seconds: float) -> str:
    """Return a length of time in words, such as "45 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 (a minute)
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004 (an hour)
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
