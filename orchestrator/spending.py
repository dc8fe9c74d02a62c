"""What the attempts at trials have cost, and what of it was for nothing. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation import compute
from orchestrator.budget import device_seconds, hours, hours_of
from orchestrator.estimate import is_gpu
from orchestrator.ledger import DONE, FAILED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.records import Cost

CUT_OFF = ("interrupted", "killed")
"""How attempts end that were asked to stop, and those that had no time to say how."""


@dataclass(frozen=True)
class Attempt:
    """One try at a trial: how it ended, and what it held, for how long."""

    number: int
    outcome: str
    device_seconds: float
    device_kind: str
    device_count: float
    started_at: float
    host: str


@dataclass(frozen=True)
class Spending:
    """What a trial has cost so far. `lost` are the rows' device-seconds for nothing, by whether they were of a GPU.

    What an attempt that was cut off has cost is not lost as long as the trial may still go on from its checkpoint.
    """

    attempts: tuple[Attempt, ...]
    used: dict[bool, float]
    lost: dict[bool, float]

    def describe_attempts(self) -> str:
        """Return how many attempts there were, and how those ended that did not come to their end."""
        ends = Counter(each.outcome for each in self.attempts if each.outcome in (*CUT_OFF, "failed"))
        listed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ends.items()))
        return f"{len(self.attempts)} ({listed})" if listed else str(len(self.attempts))


def spending(trial_id: str, rows: Sequence[Cost], state: str, images: int | None = None) -> Spending:
    """Return what a trial in this state of the ledger has cost; `images` is how many its whole history holds."""
    ended = state in (DONE, FAILED)
    pieces = compute.spent(compute.Run(trial_id, state == DONE, tuple(rows), images)) if ended else ()
    lost = {True: 0.0, False: 0.0}
    for kind, seconds in compute.device_seconds(pieces, useful=False).items():
        lost[is_gpu(kind)] += seconds
    return Spending(
        attempts=tuple(_attempt([row for row in rows if row.attempt == number], state) for number in _numbers(rows)),
        used={on_gpu: device_seconds(rows, on_gpu=on_gpu) for on_gpu in (True, False)},
        lost=lost,
    )


def _numbers(rows: Iterable[Cost]) -> list[int]:
    return sorted({row.attempt for row in rows})


def _attempt(rows: Sequence[Cost], state: str) -> Attempt:
    first = rows[0]
    # The next attempt is the first to know that this one was killed.
    killed = first.outcome == "running" and state != RUNNING
    return Attempt(
        number=first.attempt,
        outcome="killed" if killed else first.outcome,
        device_seconds=sum(row.seconds * row.device_count for row in rows),
        device_kind=first.device_kind,
        device_count=first.device_count,
        started_at=first.started_at,
        host=first.host,
    )


def describe_total(spent: Iterable[Spending]) -> str:
    """Return the attempts of all trials and their costs in a line, empty where there were none."""
    of_each = list(spent)
    attempts = [attempt for each in of_each for attempt in each.attempts]
    if not attempts:
        return ""
    parts = [f"{len(attempts):,} attempt{'' if len(attempts) == 1 else 's'}"]
    for name, outcomes in (("interrupted", CUT_OFF), ("failed", ("failed",))):
        if count := sum(attempt.outcome in outcomes for attempt in attempts):
            parts.append(f"{count:,} {name}")
    for on_gpu in (True, False):
        used, lost = (sum(getattr(each, which)[on_gpu] for each in of_each) for which in ("used", "lost"))
        whole = hours(used, on_gpu=on_gpu)
        parts += [f"{hours_of(lost)} of {whole} lost" if lost else whole] if used else []
    return ", ".join(parts)
