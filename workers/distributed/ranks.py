"""Ranks: the processes that train one trial together, and the case of a single process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from workers.outcome import Outcome


class RankLost(Exception):  # noqa: N818 (a state of machines, not a defect)
    """Another rank ended or cannot be reached; the next run resumes the trial from its last checkpoint."""


class EndedByAnotherRank(Exception):  # noqa: N818 (a state, not an accident)
    """Another rank ended the trial with this outcome, and this trace if it raised an error."""

    def __init__(self, outcome: Outcome, trace: str = "") -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.trace = trace


@dataclass(frozen=True)
class RankInfo:
    """One of `size` ranks. Rank 0 serves the rendezvous at `address`, "host:port"."""

    rank: int
    size: int
    address: str

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank is {self.rank}; it must be between 0 and size - 1 ({self.size - 1})")
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"address is {self.address!r}; it must be host:port")


class SingleProcess:
    """The only rank of a trial that one process trains. `ProcessGroup` implements the same for several."""

    rank = 0
    size = 1

    def slice_of(self, examples: int) -> slice:
        """Return the slice of a batch that this rank computes."""
        return slice(self.rank * examples // self.size, (self.rank + 1) * examples // self.size)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any rank has it set. All ranks call it at the same point."""
        return flags

    def total(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to add up a tensor over the ranks; returns a function that waits for the sum, equal on every rank."""
        return lambda: tensor

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's bytes on every rank."""
        return content

    def meet(self) -> None:
        """Wait until every rank is here, however long one takes. Raises RankLost or EndedByAnotherRank."""

    def check(self) -> None:
        """Raise RankLost if a rank is lost, EndedByAnotherRank if one has ended the trial."""

    def stop_asked(self) -> bool:
        """Return whether a waiting rank was asked to stop."""
        return False

    def connect(self, device: torch.device) -> None:
        """Connect the ranks for collective operations on tensors of this device and of the CPU."""

    def total_of(self, counter: str, own: Callable[[], float]) -> Callable[[], float]:  # noqa: ARG002
        """Return a function that reads the sum of a counter over the ranks: "joules" or "cpu_seconds".

        It is NaN if it is unknown for one of them.
        """
        return own

    def peak_memory_bytes(self, own: int | None) -> int | None:
        """Return the largest peak memory of a rank."""
        return own


SINGLE_PROCESS = SingleProcess()
