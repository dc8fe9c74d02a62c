"""What the curves of a figure are made of: a line for each seed, their mean, and the band between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evaluation.records import Point
    from evaluation.report.metrics import Metric
    from evaluation.report.series import SeedCurve, Series

Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Line:
    """What one seed draws: its points (N,), N > 0, by rising x, and the β that each was measured at."""

    betas: tuple[tuple[float, ...], ...]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def plane_lines(series: Series, unit: str) -> list[Line]:
    """Return each seed's rates and distortions, of the points whose distortion is in the unit."""
    return _lines(series, lambda point: (point.rate_nats, point.distortion) if point.distortion_unit == unit else None)


def metric_lines(series: Series, metric: Metric) -> list[Line]:
    """Return each seed's β and metric, of the points that have it."""

    def place(point: Point) -> Place | None:
        value = finite(metric.of(point))
        return None if value is None else (point.beta, value)

    return _lines(series, place)


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, else None."""
    return value if value is not None and math.isfinite(value) else None


def mean_points(lines: Sequence[Line]) -> list[Place]:
    """Return the mean over the seeds at each β that all of them have, by rising x."""
    common = set.intersection(*(set(line.betas) for line in lines))
    found: dict[tuple[float, ...], list[Place]] = {betas: [] for betas in common}
    for line in lines:
        for betas, x, y in zip(line.betas, line.x, line.y, strict=True):
            if betas in found:
                found[betas].append((float(x), float(y)))
    return sorted((fmean(x for x, _ in places), fmean(y for _, y in places)) for places in found.values())


def band(lines: Sequence[Line], scale: Callable[[Any], Any]) -> tuple[Any, Any, Any] | None:
    """Return the abscissas that all seeds span, and the least and the largest seed at each; None if there are none.

    Between points a seed runs straight where the axis has this scale, as it is drawn.
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
    placed = sorted((found, point.betas) for point in seed.points if (found := place(point)) is not None)
    x, y = (np.array([found[axis] for found, _ in placed], dtype=np.float64) for axis in (0, 1))
    return Line(tuple(betas for _, betas in placed), x, y)
