"""KL annealing: the factor on β during training. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MONOTONIC_FRACTION = 0.3
CYCLES = 4
RISING_FRACTION = 0.5


def _constant(_progress: float) -> float:
    return 1.0


def _monotonic(progress: float) -> float:
    return min(1.0, progress / MONOTONIC_FRACTION)


def _cyclic(progress: float) -> float:
    return min(1.0, progress * CYCLES % 1 / RISING_FRACTION)


ANNEALINGS: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "monotonic": _monotonic,
    "cyclic": _cyclic,
}


def annealing_weight(kind: str, progress: float) -> float:
    """Return the factor in [0, 1] on β after the fraction `progress` in [0, 1) of training.

    constant: 1. monotonic: linear from 0 to 1 over the first 30 %, then 1 (Bowman et al. 2016). cyclic: four
    cycles, each linear from 0 to 1 over its first half, then 1 (Fu et al. 2019).

    Raises:
        KeyError: there is no such kind.
        ValueError: progress is outside [0, 1).
    """
    if not 0 <= progress < 1:
        raise ValueError(f"progress is {progress:g}; it must be 0 or more and below 1")
    return ANNEALINGS[kind](progress)
