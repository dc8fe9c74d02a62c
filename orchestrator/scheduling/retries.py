"""Whether an interrupted trial is retried, by the cause of its interruption. Pure: reads no clock, sleeps nowhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field
from typing_extensions import Doc

from workers.outcome import Cause

LONGEST_BACK_OFF_SECONDS = 60.0

_DESCRIPTIONS = {
    Cause.STORE: "store unavailable",
    Cause.DEVICE_MEMORY: "device out of memory",
    Cause.MACHINE: "device missing or broken",
    Cause.RANK_LOST: "another rank lost",
    Cause.WORKER_DIED: "worker died",
    Cause.HOST_MEMORY: "host out of memory, worker killed by Ray",
    Cause.HUNG: "trial hung, worker killed",
    Cause.NODE_LOST: "node lost",
    Cause.DRAINED: "node draining",
    Cause.TERMINATED: "worker received SIGTERM",
}
_EXTERNAL = (Cause.NODE_LOST, Cause.DRAINED, Cause.TERMINATED)
"""Causes that say nothing about the trial: they count against `interruptions` alone."""


Retries = Annotated[int, Field(ge=0, le=1000)]


@dataclass(frozen=True)
class RetryPolicy:
    """Retries of an interrupted trial within one run, by cause. A trial that fails by itself is not retried."""

    interruptions: Annotated[Retries, Doc("Retries after losing a worker or a node; preemptions do not count.")] = 50
    without_progress: Annotated[Retries, Doc("Retries in a row after losing a worker, without any progress.")] = 3
    store: Annotated[Retries, Doc("Retries in a row after an error of a disk, a network or an object store.")] = 5
    memory: Annotated[Retries, Doc("Retries after a device ran out of memory.")] = 1
    hung: Annotated[Retries, Doc("Retries after a hang.")] = 2
    hung_after_minutes: Annotated[
        float,
        Field(gt=0),
        Doc("Minutes without a training step before a trial counts as hung and its worker is killed."),
    ] = 20.0
    back_off_seconds: Annotated[
        float,
        Field(ge=0),
        Doc("Seconds before a retry after an error of a store or a device; doubled for each one in a row."),
    ] = 1.0

    @property
    def hung_after_seconds(self) -> float:
        """Seconds without a training step before a trial counts as hung."""
        return 60 * self.hung_after_minutes


@dataclass(frozen=True)
class AttemptCounts:
    """The interruptions of one trial so far; `reached` is the furthest epoch of its attempts."""

    interruptions: int = 0
    without_progress: int = 0
    store: int = 0
    memory: int = 0
    hung: int = 0
    reached: float = 0.0

    @property
    def total(self) -> int:
        """The number of interrupted attempts."""
        return self.interruptions + self.store + self.memory + self.hung


@dataclass(frozen=True)
class RetryDecision:
    """An interrupted trial is retried after `wait_seconds`, or given up where that is None."""

    counts: AttemptCounts
    wait_seconds: float | None
    message: str


def after_interruption(
    policy: RetryPolicy, counts: AttemptCounts, cause: Cause, reached: float, message: str = ""
) -> RetryDecision:
    """Return the decision on a trial after one more interruption, in an attempt that came as far as epoch `reached`."""
    further = reached > counts.reached
    counts = replace(counts, reached=max(reached, counts.reached))
    why = message or _DESCRIPTIONS[cause]
    if cause is Cause.STORE:
        # Progress in between separates one outage from the next.
        counts = replace(counts, store=1 if further else counts.store + 1)
        return _decide(counts, counts.store, policy.store, why, policy.back_off_seconds)
    if cause is Cause.DEVICE_MEMORY:
        counts = replace(counts, memory=counts.memory + 1)
        return _decide(counts, counts.memory, policy.memory, why)
    if cause is Cause.HUNG:
        counts = replace(counts, hung=counts.hung + 1)
        return _decide(counts, counts.hung, policy.hung, why)
    return _after_loss(policy, counts, cause, why, further=further)


def _after_loss(policy: RetryPolicy, counts: AttemptCounts, cause: Cause, why: str, *, further: bool) -> RetryDecision:
    counts = replace(counts, interruptions=counts.interruptions + 1)
    if cause not in _EXTERNAL:
        counts = replace(counts, without_progress=0 if further else counts.without_progress + 1)
        if counts.without_progress > policy.without_progress:
            return _give_up(counts, f"{why}, {counts.without_progress} times without progress")
    back_off = policy.back_off_seconds if cause is Cause.MACHINE else 0.0
    return _decide(counts, counts.interruptions, policy.interruptions, why, back_off)


def _decide(counts: AttemptCounts, count: int, limit: int, why: str, back_off: float = 0.0) -> RetryDecision:
    if count > limit:
        return _give_up(counts, f"{why}; given up after {count} attempt{'s' if count > 1 else ''}")
    # Bounded before it is doubled: 2.0**2000 is no float.
    return RetryDecision(counts, min(LONGEST_BACK_OFF_SECONDS, back_off * 2.0 ** min(count - 1, 30)), why)


def _give_up(counts: AttemptCounts, why: str) -> RetryDecision:
    return RetryDecision(counts, None, f"{why}; submit again to resume from the last checkpoint")
