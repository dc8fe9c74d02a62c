"""The curves of a figure: a line for each seed, their mean, and the band between them.

Rate-distortion curves are drawn as they are compared: the lower envelope, interpolated by a monotone cubic
(`evaluation.curves.interpolate`). Curves of metrics over β join their points by straight lines.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.curves import interpolate, lower_envelope
from evaluation.operating_points import common_beta, same_point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evaluation.curves import RatePoint
    from evaluation.metrics.catalogue import Quantity
    from evaluation.operating_points import Betas
    from evaluation.records import Point
    from evaluation.report.content.series import SeedCurve, Series

Place = tuple[float, float]

PIECES = 9
"""The number of straight pieces between two points of an interpolated curve."""


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


def interpolated(curve: Sequence[RatePoint]) -> tuple[Any, Any]:
    """Return rates (N,) and distortions (N,) of the line through a curve; empty where it has fewer than two rates."""
    envelope = lower_envelope(curve)
    if len(envelope) < 2:  # noqa: PLR2004 (a line has two ends)
        return np.empty(0), np.empty(0)
    ends = itertools.pairwise(rate for rate, _ in envelope)
    rates = np.concatenate([*(np.linspace(*pair, PIECES, endpoint=False) for pair in ends), [envelope[-1][0]]])
    return rates, interpolate(curve)(rates)


def seed_band(curves: Sequence[Sequence[RatePoint]]) -> tuple[Any, Any, Any] | None:
    """Return rates that all curves span, and the smallest and largest interpolated value at each; None without any."""
    lines = [interpolated(curve) for curve in curves]
    if len(lines) < 2 or any(len(rates) == 0 for rates, _ in lines):  # noqa: PLR2004 (one curve has no band)
        return None
    low, high = max(rates[0] for rates, _ in lines), min(rates[-1] for rates, _ in lines)
    if not low < high:
        return None
    every = np.unique(np.concatenate([rates for rates, _ in lines]))
    rates = every[(every >= low) & (every <= high)]
    heights = np.stack([interpolate(curve)(rates) for curve in curves])
    return rates, heights.min(axis=0), heights.max(axis=0)


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
