"""States of a trial, causes of interruptions, and how an attempt reports them. Imports no torch: drivers import it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class TrialState(StrEnum):
    """The state of a planned trial, in the order of listings, and how an attempt ended. Stores have the values."""

    DONE = "done"
    TRAINED = "trained"  # lacks the evaluation that the sweep asks for
    RUNNING = "running"
    FAILED = "failed"  # a retry would fail in the same way
    CANCELLED = "cancelled"  # neither done nor running, and not to be resumed
    PENDING = "pending"  # not begun, or to be resumed
    # Attempts only:
    STOPPED = "stopped"  # as requested
    INTERRUPTED = "interrupted"  # a retry may succeed
    KILLED = "killed"  # in cost rows: ended without recording how


class Cause(StrEnum):
    """What interrupted an attempt; `orchestrator.scheduling.retries` has the retry limit of each."""

    STORE = "store"  # a disk, a network or an object store
    DEVICE_MEMORY = "memory"
    MACHINE = "machine"  # a device is missing or broken
    RANK_LOST = "gang"  # another rank of the process group is lost
    WORKER_DIED = "died"
    HOST_MEMORY = "host memory"
    HUNG = "hung"
    NODE_LOST = "node"
    DRAINED = "drained"  # the node is about to be taken away
    TERMINATED = "terminated"  # the worker process received SIGTERM


@dataclass(frozen=True)
class Progress:
    """Progress of a trial in training: epochs done (fractional), epochs in all, and the last whole epoch's ELBO.

    `examples` counts training examples, with those of earlier attempts that a checkpoint kept.
    """

    epoch: float
    epochs: int
    elbo: float | None
    examples: int = 0


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: done, failed, stopped or interrupted, which alone has a `cause`."""

    state: TrialState
    message: str = ""
    cause: Cause | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild an outcome from the JSON of its fields."""
        cause = record["cause"]
        return cls(TrialState(record["state"]), record["message"], None if cause is None else Cause(cause))


class Interrupted(Exception):  # noqa: N818 (a state, not an accident)
    """The trial was asked to stop; the next run resumes it from its last checkpoint."""


class TrialFailed(Exception):  # noqa: N818 (the pair is TrialFailed and an interruption: a state, not an accident)
    """The trial itself cannot be trained: a retry would fail in the same way."""
