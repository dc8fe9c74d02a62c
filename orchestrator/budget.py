"""What a sweep may cost: whether a further trial may start. Reads and writes nothing by itself.

A budget is in device-hours: those of GPUs where trials hold any, else those of CPU cores. An hour of a GPU and one of a
core are different things, so they are never added: a budget of GPU-hours leaves out what the same trials once took on
cores. All attempts of all trials of the sweep count: those that failed or were killed, and those of other sweeps too.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.estimate import is_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evaluation.records import Cost
    from orchestrator.plan import PlannedTrial

LEAST_HOURS = 0.001
LONGEST_UNSEEN_SECONDS = 5.0
"""Attempts write their costs about so often; looking more often would tell nothing new."""
FEW, LOOKING_SHARE = 32, 0.1
"""Costs of so few running trials are looked at whenever nothing may start; of more, in that share of the time."""


def device_seconds(rows: Iterable[Cost], *, on_gpu: bool) -> float:
    """Return the device-seconds of cost rows, of GPUs or else of CPU cores."""
    return math.fsum(row.device_seconds for row in rows if is_gpu(row.device_kind) == on_gpu)


def hours(seconds: float, *, on_gpu: bool) -> str:
    """Return device-seconds as hours of what they were spent on, such as "4.25 GPU-hours"."""
    number = hours_of(seconds)
    return f"{number} {'GPU' if on_gpu else 'CPU-core'}-hour{'' if number == '1' else 's'}"


def hours_of(seconds: float) -> str:
    """Return seconds as hours, to three digits."""
    number = seconds / 3600
    if 0 < number < LEAST_HOURS:
        return f"less than {LEAST_HOURS}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"  # noqa: PLR2004 (no exponent)


@dataclass(frozen=True)
class _Launch:
    """A trial that was let go: its last attempt and its device-seconds before that, and those it was to take still."""

    last_attempt: int
    before: float
    expected: float


class Budget:
    """Says of each trial whether it may start: what is used, what runs and it together must stay within the budget.

    `limit` is in device-seconds, `expected` has those of each trial from its beginning to its end, and `share_left`
    tells which part of that a trial has still before it. `costs` reads the cost rows of a trial: those of all trials
    once, then those of running ones every few seconds, so that a launch costs nothing worth mention. The device-seconds
    that ended trials took, beside those expected of them, correct what is expected of the others.
    """

    def __init__(
        self,
        limit: float,
        trials: Sequence[PlannedTrial],
        expected: Mapping[str, float],
        costs: Callable[[str], Sequence[Cost]],
        share_left: Callable[[PlannedTrial], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused = False
        self._limit = limit
        self._on_gpu = any(planned.resources.gpus > 0 for planned in trials)
        self._expected = expected
        self._costs = costs
        self._share_left = share_left
        self._clock = clock
        self._used = {planned.trial_id: self._seconds(costs(planned.trial_id)) for planned in trials}
        self._running: dict[str, _Launch] = {}
        self._took = self._was_to_take = 0.0
        self._looked_at = clock()
        self._looking_took = 0.0

    @property
    def used(self) -> float:
        """The device-seconds of all attempts so far, as last looked at."""
        return math.fsum(self._used.values())

    def may_launch(self, planned: PlannedTrial) -> str | None:
        """Return None where the trial may start, which is then taken to run; else why not, for people.

        Trials that end leave room, so it is worth asking again.
        """
        rows = self._costs(planned.trial_id)
        before = self._used[planned.trial_id] = self._seconds(rows)
        self._running.pop(planned.trial_id, None)
        left = self._expected[planned.trial_id] * self._share_left(planned)
        self._look(after=LONGEST_UNSEEN_SECONDS)
        if not self._fits(left):
            # What has ended since may have made room, and where nothing runs any more this is the last word.
            self._look(after=0.0 if len(self._running) <= FEW else self._looking_took / LOOKING_SHARE)
        self.refused = not self._fits(left)
        if self.refused:
            return self._why(left)
        self._running[planned.trial_id] = _Launch(_last_attempt(rows), before, left)
        return None

    def conclusion(self, left: Sequence[PlannedTrial]) -> str:
        """Return what to say at the end of a run, if the budget was what ended it; else nothing.

        `left` are the trials that did not come to an end.
        """
        if not (self.refused and left):
            return ""
        self._look(after=0.0)
        to_go = self._pace * math.fsum(self._expected[each.trial_id] * self._share_left(each) for each in left)
        return (
            f"The budget of {hours(self._limit, on_gpu=self._on_gpu)} ends it here: {hours_of(self.used)} used, and "
            f"{len(left):,} trial{'s' if len(left) > 1 else ''} left, about {hours_of(to_go)} more. Raise "
            "budget.device_hours and submit again to go on."
        )

    @property
    def _pace(self) -> float:
        """By how much trials took longer than expected."""
        return self._took / self._was_to_take if self._was_to_take and self._took else 1.0

    def _fits(self, left: float) -> bool:
        return self.used + self._committed() + self._pace * left <= self._limit

    def _committed(self) -> float:
        """Return the device-seconds that running trials are to take still."""
        expected = (
            launch.expected * self._pace - (self._used[trial_id] - launch.before)
            for trial_id, launch in self._running.items()
        )
        return math.fsum(max(0.0, seconds) for seconds in expected)

    def _why(self, left: float) -> str:
        running = f", about {hours_of(self._committed())} more expected of what runs" if self._running else ""
        return (
            f"the budget of {hours(self._limit, on_gpu=self._on_gpu)} would be passed: {hours_of(self.used)} used"
            f"{running}, about {hours_of(self._pace * left)} of the next trial"
        )

    def _look(self, *, after: float) -> None:
        """Take in what running trials have cost, if so many seconds have passed since the last time."""
        began = self._clock()
        if began - self._looked_at < after:
            return
        for trial_id, launch in list(self._running.items()):
            rows = self._costs(trial_id)
            self._used[trial_id] = self._seconds(rows)
            outcome = _outcome_since(rows, launch.last_attempt)
            if outcome not in ("", "running"):
                del self._running[trial_id]
            if outcome == "done":
                self._took += self._used[trial_id] - launch.before
                self._was_to_take += launch.expected
        self._looked_at = self._clock()
        self._looking_took = self._looked_at - began

    def _seconds(self, rows: Iterable[Cost]) -> float:
        return device_seconds(rows, on_gpu=self._on_gpu)


def _last_attempt(rows: Iterable[Cost]) -> int:
    return max((row.attempt for row in rows), default=0)


def _outcome_since(rows: Sequence[Cost], earlier: int) -> str:
    """Return how the last attempt after an earlier one ended, or "running"; nothing where there was none."""
    last = _last_attempt(rows)
    return next((row.outcome for row in rows if row.attempt == last), "") if last > earlier else ""
