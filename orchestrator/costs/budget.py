"""The budget of a sweep: whether a further trial may start. Does no input or output itself.

A budget is in device-hours: of GPUs if trials hold any, else of CPU cores. The two are never added: a budget of
GPU-hours leaves out what the same trials once took on CPUs. All attempts at all trials of the sweep count, also failed
and killed ones, and those of other sweeps. See docs/decisions/device-seconds.md.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.planning.estimate import is_gpu
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evaluation.records import Cost
    from orchestrator.planning.plan import PlannedTrial

LEAST_HOURS = 0.001
LONGEST_UNSEEN_SECONDS = 5.0
"""Attempts write their costs about this often; reading more often would show nothing new."""
FEW, READING_SHARE = 32, 0.1
"""Costs of few running trials are read whenever nothing may start; those of more, in this share of the time."""


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
    """A launched trial: its last attempt and its device-seconds before the launch, and those expected of it."""

    last_attempt: int
    before: float
    expected: float


class Budget:
    """Decides whether a trial may start: past costs, running trials and it must together stay within the budget.

    `limit` is in device-seconds, `expected` has those of each whole trial, and `share_left` returns which part of them
    a trial still needs. `costs` reads the cost rows of a trial: once for all trials, then every few seconds for running
    ones, so that a launch is cheap. The ratio of actual to expected costs of ended trials corrects the other
    expectations.
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
        self._read_at = clock()
        self._reading_took = 0.0

    @property
    def used(self) -> float:
        """The device-seconds of all attempts so far, as last read."""
        return math.fsum(self._used.values())

    def may_launch(self, planned: PlannedTrial) -> str | None:
        """Return None if the trial may start, and count it as running; else return why not, for people.

        The answer may change when other trials end.
        """
        rows = self._costs(planned.trial_id)
        before = self._used[planned.trial_id] = self._seconds(rows)
        self._running.pop(planned.trial_id, None)
        left = self._expected[planned.trial_id] * self._share_left(planned)
        self._read_costs(after=LONGEST_UNSEEN_SECONDS)
        if not self._fits(left):
            # Trials that ended since may have cost less than expected; if none runs, this is the final answer.
            self._read_costs(after=0.0 if len(self._running) <= FEW else self._reading_took / READING_SHARE)
        self.refused = not self._fits(left)
        if self.refused:
            return self._why(left)
        self._running[planned.trial_id] = _Launch(_last_attempt(rows), before, left)
        return None

    def conclusion(self, left: Sequence[PlannedTrial]) -> str:
        """Return a sentence for the end of a run if the budget ended it, else an empty one.

        `left` are the unfinished trials.
        """
        if not (self.refused and left):
            return ""
        self._read_costs(after=0.0)
        to_go = self._pace * math.fsum(self._expected[each.trial_id] * self._share_left(each) for each in left)
        return (
            f"Budget of {hours(self._limit, on_gpu=self._on_gpu)} reached: {hours_of(self.used)} used, {len(left):,} "
            f"trial{'s' if len(left) > 1 else ''} left, about {hours_of(to_go)} more needed. Raise "
            "budget.device_hours and submit again to resume."
        )

    @property
    def _pace(self) -> float:
        """The ratio of actual to expected costs."""
        return self._took / self._was_to_take if self._was_to_take and self._took else 1.0

    def _fits(self, left: float) -> bool:
        return self.used + self._committed() + self._pace * left <= self._limit

    def _committed(self) -> float:
        """Return the device-seconds that running trials are still expected to take."""
        expected = (
            launch.expected * self._pace - (self._used[trial_id] - launch.before)
            for trial_id, launch in self._running.items()
        )
        return math.fsum(max(0.0, seconds) for seconds in expected)

    def _why(self, left: float) -> str:
        running = f", about {hours_of(self._committed())} more for running trials" if self._running else ""
        return (
            f"budget of {hours(self._limit, on_gpu=self._on_gpu)} would be exceeded: {hours_of(self.used)} used"
            f"{running}, about {hours_of(self._pace * left)} for the next trial"
        )

    def _read_costs(self, *, after: float) -> None:
        """Read the costs of running trials, unless they were read less than `after` seconds ago."""
        began = self._clock()
        if began - self._read_at < after:
            return
        for trial_id, launch in list(self._running.items()):
            rows = self._costs(trial_id)
            self._used[trial_id] = self._seconds(rows)
            outcome = _outcome_since(rows, launch.last_attempt)
            if outcome not in ("", TrialState.RUNNING):
                del self._running[trial_id]
            if outcome == TrialState.DONE:
                self._took += self._used[trial_id] - launch.before
                self._was_to_take += launch.expected
        self._read_at = self._clock()
        self._reading_took = self._read_at - began

    def _seconds(self, rows: Iterable[Cost]) -> float:
        return device_seconds(rows, on_gpu=self._on_gpu)


def _last_attempt(rows: Iterable[Cost]) -> int:
    return max((row.attempt for row in rows), default=0)


def _outcome_since(rows: Sequence[Cost], earlier: int) -> str:
    """Return the outcome of the last attempt after an earlier one, empty if there was none."""
    last = _last_attempt(rows)
    return next((row.outcome for row in rows if row.attempt == last), "") if last > earlier else ""
