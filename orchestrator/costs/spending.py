"""Costs of the attempts at trials, and the part of them that was lost. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation import compute
from orchestrator.costs.budget import device_seconds, hours, hours_of
from orchestrator.planning.estimate import is_gpu
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.records import Cost

CUT_OFF = (TrialState.INTERRUPTED, TrialState.KILLED)
"""Outcomes of attempts that a later one may resume."""


@dataclass(frozen=True)
class AttemptCost:
    """One attempt at a trial: its outcome, its devices and their cost."""

    number: int
    outcome: str
    device_seconds: float
    device_kind: str
    device_count: float
    started_at: float
    host: str


@dataclass(frozen=True)
class Spending:
    """The costs of a trial so far. `used` and `lost` are device-seconds, by whether they are of a GPU.

    The cost of an interrupted attempt is not lost while the trial may still resume from its checkpoint.
    """

    attempts: tuple[AttemptCost, ...]
    used: dict[bool, float]
    lost: dict[bool, float]

    def describe_attempts(self) -> str:
        """Return the number of attempts, with the outcomes of those that did not finish."""
        ends = Counter(each.outcome for each in self.attempts if each.outcome in (*CUT_OFF, TrialState.FAILED))
        listed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ends.items()))
        return f"{len(self.attempts)} ({listed})" if listed else str(len(self.attempts))


def spending(trial_id: str, rows: Sequence[Cost], state: TrialState, images: int | None = None) -> Spending:
    """Return the costs of a trial in this state; `images` is the number in its whole history."""
    ended = state in (TrialState.DONE, TrialState.FAILED)
    pieces = compute.spent(compute.Run(trial_id, state == TrialState.DONE, tuple(rows), images)) if ended else ()
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


def _attempt(rows: Sequence[Cost], state: TrialState) -> AttemptCost:
    first = rows[0]
    # Its cost rows say so only once the next attempt writes them.
    killed = first.outcome == TrialState.RUNNING and state != TrialState.RUNNING
    return AttemptCost(
        number=first.attempt,
        outcome=TrialState.KILLED if killed else first.outcome,
        device_seconds=sum(row.device_seconds for row in rows),
        device_kind=first.device_kind,
        device_count=first.device_count,
        started_at=first.started_at,
        host=first.host,
    )


def describe_total(spent: Iterable[Spending]) -> str:
    """Return a line with the attempts at all trials and their costs, empty if there were none."""
    of_each = list(spent)
    attempts = [attempt for each in of_each for attempt in each.attempts]
    if not attempts:
        return ""
    parts = [f"{len(attempts):,} attempt{'' if len(attempts) == 1 else 's'}"]
    for name, outcomes in ((TrialState.INTERRUPTED, CUT_OFF), (TrialState.FAILED, (TrialState.FAILED,))):
        if count := sum(attempt.outcome in outcomes for attempt in attempts):
            parts.append(f"{count:,} {name}")
    for on_gpu in (True, False):
        used, lost = (sum(getattr(each, which)[on_gpu] for each in of_each) for which in ("used", "lost"))
        whole = hours(used, on_gpu=on_gpu)
        parts += [f"{hours_of(lost)} of {whole} lost" if lost else whole] if used else []
    return ", ".join(parts)
