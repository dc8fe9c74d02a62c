"""Whether an interrupted trial is tried again, by the cause of its interruption. Pure: nothing is read or slept."""

from __future__ import annotations

from dataclasses import dataclass, replace

DIED, NODE, DRAINED, TERMINATED, HOST_MEMORY = "died", "node", "drained", "terminated", "host memory"
STORE, MEMORY, MACHINE, HUNG = "store", "memory", "machine", "hung"
LONGEST_BACK_OFF_SECONDS = 60.0

_WORDS = {
    DIED: "its worker died",
    NODE: "its node went away",
    DRAINED: "its node is being taken away",
    TERMINATED: "its worker was asked to terminate",
    HOST_MEMORY: "its machine ran out of memory, and Ray killed its worker",
    HUNG: "it hung, and its worker was killed",
    MEMORY: "its device ran out of memory",
}
_OF_SURROUNDINGS = {NODE, DRAINED, TERMINATED}
"""What says nothing of the trial: it counts against the cap of interruptions alone."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a trial is tried again within one run, by cause; what fails by itself never is.

    `interruptions` caps nodes, workers and machines that go away; `without_progress` of them in a row that got a
    trial no further end it sooner. `hung_after_seconds` is how long a trial may take no step before its worker is
    killed. `back_off_seconds` is the first pause before a store is tried again; each later one is twice as long.
    """

    interruptions: int = 50
    without_progress: int = 3
    store: int = 5
    memory: int = 1
    hung: int = 2
    hung_after_seconds: float = 1200.0
    back_off_seconds: float = 1.0


@dataclass(frozen=True)
class Tries:
    """What has interrupted one trial so far; `reached` is the furthest epoch of its attempts."""

    interruptions: int = 0
    without_progress: int = 0
    store: int = 0
    memory: int = 0
    hung: int = 0
    reached: float = 0.0

    @property
    def total(self) -> int:
        """How many attempts were interrupted."""
        return self.interruptions + self.store + self.memory + self.hung


@dataclass(frozen=True)
class Verdict:
    """What becomes of an interrupted trial: tried again after `wait_seconds`, or given up where that is None."""

    tries: Tries
    wait_seconds: float | None
    message: str


def describe(cause: str, message: str = "") -> str:
    """Return in words why a trial was interrupted."""
    return message or _WORDS.get(cause, _WORDS[DIED])


def after_interruption(policy: RetryPolicy, tries: Tries, cause: str, reached: float, message: str = "") -> Verdict:
    """Return what becomes of a trial after one more interruption, in an attempt that came as far as epoch `reached`.

    An unknown cause counts as a worker's death.
    """
    further = reached > tries.reached
    tries = replace(tries, reached=max(reached, tries.reached))
    why = describe(cause, message)
    if cause == STORE:
        # What went well in between tells one outage from the next.
        tries = replace(tries, store=1 if further else tries.store + 1)
        return _judge(tries, tries.store, policy.store, why, policy.back_off_seconds)
    if cause == MEMORY:
        tries = replace(tries, memory=tries.memory + 1)
        return _judge(tries, tries.memory, policy.memory, why)
    if cause == HUNG:
        tries = replace(tries, hung=tries.hung + 1)
        return _judge(tries, tries.hung, policy.hung, why)
    return _after_loss(policy, tries, cause, why, further=further)


def _after_loss(policy: RetryPolicy, tries: Tries, cause: str, why: str, *, further: bool) -> Verdict:
    tries = replace(tries, interruptions=tries.interruptions + 1)
    if cause not in _OF_SURROUNDINGS:
        tries = replace(tries, without_progress=0 if further else tries.without_progress + 1)
        if tries.without_progress > policy.without_progress:
            times = f"{tries.without_progress} times without getting further"
            return Verdict(tries, None, f"{why}, {times}; submit again to go on from its last checkpoint")
    back_off = policy.back_off_seconds if cause == MACHINE else 0.0
    return _judge(tries, tries.interruptions, policy.interruptions, why, back_off)


def _judge(tries: Tries, count: int, allowed: int, why: str, back_off: float = 0.0) -> Verdict:
    if count <= allowed:
        # Bounded before it is doubled: 2.0**2000 is no float.
        return Verdict(tries, min(LONGEST_BACK_OFF_SECONDS, back_off * 2.0 ** min(count - 1, 30)), why)
    times = f"after {count} tries; submit again to go on from its last checkpoint"
    return Verdict(tries, None, f"{why}; given up {times}")
