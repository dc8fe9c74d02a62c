"""A trial trained by several processes that share every batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GangPlace:
    """One rank of a gang: its number, how many there are, and "host:port" where rank 0 lets them meet."""

    rank: int
    size: int
    address: str
