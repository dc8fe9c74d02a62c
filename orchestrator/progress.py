"""The live view of a run: a table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from orchestrator.plan import PlannedTrial
    from workers.outcome import Outcome, Progress

PLAIN_SUMMARY_SECONDS = 30.0
SHOWN_RUNNING = 16


@dataclass(frozen=True)
class _Running:
    started_at: float
    epoch: int = 0
    epochs: int = 0
    elbo: float | None = None


class ProgressView:
    """Hears of trials as `executor.Listener` and shows how the run stands.

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
        self._begun_at = self._summarised_at = clock()
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, str] = {}
        self._interruptions = 0
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

    def started(self, trial_id: str) -> None:
        """Show that the trial runs."""
        self._running[trial_id] = _Running(self._clock())
        self._refresh()

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """Show how far the trial is."""
        running = self._running.get(trial_id, _Running(self._clock()))
        self._running[trial_id] = replace(running, epoch=progress.epoch, epochs=progress.epochs, elbo=progress.elbo)
        self._refresh()

    def interrupted(self, trial_id: str, attempts: int) -> None:
        """Say that the trial's worker died and that it goes on from its last checkpoint."""
        self._running.pop(trial_id, None)
        self._interruptions += 1
        self._say(f"[yellow]interrupted[/] {self._names[trial_id]}: its worker died (try {attempts}); going on")

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
            self._say(f"[{colour}]{outcome.state}[/] {count} {self._names[trial_id]}{detail}")
        self._refresh()

    def stopping(self) -> None:
        """Say that the running trials are about to checkpoint."""
        self._say("[yellow]stopping[/]: running trials checkpoint first; press Ctrl-C again to leave at once")

    def seconds_left(self) -> float | None:
        """Return the expected seconds until all trials have ended, or None before anything tells."""
        correction = self._spent_actual / self._spent_expected if self._spent_expected else 1.0
        left = [self._expected.get(name, 0.0) * correction for name in self._names if name not in self._ended]
        gone = sum(self._clock() - running.started_at for running in self._running.values())
        return max(0.0, sum(left) - gone) / self._slots if sum(left) else None

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())
        elif self._clock() - self._summarised_at >= PLAIN_SUMMARY_SECONDS:
            self._summarised_at = self._clock()
            self._console.print(self._summary())

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False)

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
        return Text(" · ".join(parts))

    def _render(self) -> Table:
        table = Table(title=self._summary(), title_justify="left", title_style="", expand=False)
        for column, justify in (("running", "left"), ("epoch", "right"), ("ELBO", "right"), ("for", "right")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich wants the literal
        for trial_id, running in list(self._running.items())[:SHOWN_RUNNING]:
            epoch = f"{running.epoch}/{running.epochs}" if running.epochs else "…"
            elbo = f"{running.elbo:.2f}" if running.elbo is not None else ""
            table.add_row(self._names[trial_id], epoch, elbo, duration(self._clock() - running.started_at))
        if len(self._running) > SHOWN_RUNNING:
            table.add_row(f"… and {len(self._running) - SHOWN_RUNNING} more", "", "", "")
        return table


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
