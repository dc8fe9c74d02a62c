"""The curves of a figure: a line for each seed, their mean, and the band between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.operating_points import common_beta, same_point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evaluation.metrics.catalogue import Quantity
    from evaluation.operating_points import Betas
    from evaluation.records import Point
    from evaluation.report.content.series import SeedCurve, Series

Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Line:
    """The line of one seed: its points (N,), N > 0, by rising x, and the β of each."""

    betas: tuple[Betas, ...]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def plane_lines(series: Series, unit: str) -> list[Line]:
    """Return the rates and distortions of each seed, for points in this unit of distortion."""
    return _lines(series, lambda point: (point.rate_nats, point.distortion) if point.distortion_unit == unit else None)


def metric_lines(series: Series, quantity: Quantity) -> list[Line]:
    """Return the β and quantity of each seed, for points that have it and the same β for all latent layers."""

    def place(point: Point) -> Place | None:
        value = finite(point.metrics.get(quantity.column))
        beta = common_beta(point.betas)
        return None if value is None or beta is None else (beta, value)

    return _lines(series, place)


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, else None."""
    return value if value is not None and math.isfinite(value) else None


def mean_points(lines: Sequence[Line]) -> list[Place]:
    """Return the mean over the seeds at each common β, by rising x."""
    common = set.intersection(*(set(line.betas) for line in lines))
    found: dict[Betas, list[Place]] = {betas: [] for betas in common}
    for line in lines:
        for betas, x, y in zip(line.betas, line.x, line.y, strict=True):
            if betas in found:
                found[betas].append((float(x), float(y)))
    return sorted((fmean(x for x, _ in places), fmean(y for _, y in places)) for places in found.values())


def band(lines: Sequence[Line], scale: Callable[[Any], Any]) -> tuple[Any, Any, Any] | None:
    """Return abscissas that all seeds span, and the smallest and largest value at each; None if there are none.

    Values between points are interpolated linearly on an axis of this scale, as they are drawn.
    """
    low, high = max(line.x[0] for line in lines), min(line.x[-1] for line in lines)
    if not low < high:
        return None
    every = np.unique(np.concatenate([line.x for line in lines]))
    inside = every[(every >= low) & (every <= high)]
    heights = np.array([np.interp(scale(inside), scale(line.x), line.y) for line in lines])
    return inside, heights.min(axis=0), heights.max(axis=0)


def _lines(series: Series, place: Callable[[Point], Place | None]) -> list[Line]:
    lines = (_line(seed, place) for seed in series.seeds)
    return [line for line in lines if line.betas]


def _line(seed: SeedCurve, place: Callable[[Point], Place | None]) -> Line:
    placed = sorted((found, same_point(point.betas)) for point in seed.points if (found := place(point)) is not None)
    x, y = (np.array([found[axis] for found, _ in placed], dtype=np.float64) for axis in (0, 1))
    return Line(tuple(betas for _, betas in placed), x, y)
