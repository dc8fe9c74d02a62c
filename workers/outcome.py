"""What is said of a trial while it runs and when it ends. Imports no torch: drivers hear it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a trial in training is: epochs done, in fractions, of how many, and the last whole epoch's ELBO.

    `examples` is how many it has trained on, those of earlier attempts that were saved too.
    """

    epoch: float
    epochs: int
    elbo: float | None
    examples: int = 0


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    `state` is done, failed (again each time: not worth a retry), stopped (as asked) or interrupted (worth a retry once
    its `cause` is gone: "store" for disks, networks and object stores, "memory" where a device ran out of it,
    "machine" for a device that is missing or broken; what the driver sees is in `orchestrator.retries`).
    """

    state: str
    message: str = ""
    cause: str = ""
