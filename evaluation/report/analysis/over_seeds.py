"""A number for each seed, with its estimate over the seeds."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.statistics import Estimate


@dataclass(frozen=True)
class OverSeeds:
    """One number for each seed, by rising seed, and their estimate; `values` is empty if there is none."""

    values: tuple[float, ...]
    estimate: Estimate

    @property
    def reason(self) -> str:
        """Why there is no number; empty if there is one."""
        return self.estimate.reason if self.estimate.value is None else ""


def nothing(reason: str, seeds: int) -> OverSeeds:
    """Return no number of this many seeds, with the reason."""
    return OverSeeds((), Estimate(None, seeds=(seeds,), reason=reason))
