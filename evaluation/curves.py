"""Summaries of rate-distortion curves: what dominates what, and numbers that compare whole curves.

A curve is any number of (rate, distortion) pairs in any order; less is better in both. Pairs that are not
finite take no part.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

RatePoint = tuple[float, float]

RATE_RESOLUTION_NATS = 1e-6
"""Rates closer than this are one rate: the slope between them would be round-off."""


def pareto_front(curve: Sequence[RatePoint]) -> tuple[int, ...]:
    """Return the indices of the points that no other point dominates, by rising rate.

    A point is dominated if another is no worse in both and better in one; equal points do not dominate each
    other.
    """
    order = sorted((index for index, point in enumerate(curve) if _finite(point)), key=lambda index: curve[index])
    front: list[int] = []
    for index in order:
        if not front or curve[index][1] < curve[front[-1]][1] or curve[index] == curve[front[-1]]:
            front.append(index)
    return tuple(front)


def hypervolume(curve: Sequence[RatePoint], reference: RatePoint) -> float:
    """Return the area that the curve dominates below the reference point, in nats × the unit of distortion.

    Points that are worse than the reference in either add nothing. Only areas with one reference compare, and
    a curve with more points has the larger area for that alone: compare equal numbers of points.
    """
    inside = [point for point in curve if point[0] < reference[0] and point[1] < reference[1]]
    front = [inside[index] for index in pareto_front(inside)]
    steps = itertools.pairwise([*front, reference])
    return math.fsum((end - rate) * (reference[1] - distortion) for (rate, distortion), (end, _) in steps)


def lower_envelope(curve: Sequence[RatePoint]) -> tuple[RatePoint, ...]:
    """Return the least distortion reached at no more than each rate, from the least to the largest rate.

    This is the Pareto front, carried on level to the largest rate measured, with rates closer than
    RATE_RESOLUTION_NATS taken as one. Rates rise strictly and distortions never rise.
    """
    envelope: list[RatePoint] = []
    for rate, distortion in (curve[index] for index in pareto_front(curve)):
        if envelope and rate - envelope[-1][0] < RATE_RESOLUTION_NATS:
            envelope[-1] = (envelope[-1][0], distortion)
        else:
            envelope.append((rate, distortion))
    largest_rate = max((point[0] for point in curve if _finite(point)), default=-math.inf)
    if envelope and largest_rate - envelope[-1][0] >= RATE_RESOLUTION_NATS:
        envelope.append((largest_rate, envelope[-1][1]))
    return tuple(envelope)


def interpolate(curve: Sequence[RatePoint]) -> Any:
    """Return the monotone cubic through the lower envelope, a scipy interpolator.

    PCHIP: Fritsch and Butland 1984.

    Raises:
        ValueError: there are fewer than two distinct rates.
    """
    # scipy takes a while to import, and planning and status never interpolate.
    from scipy.interpolate import PchipInterpolator

    envelope = lower_envelope(curve)
    if len(envelope) < 2:  # noqa: PLR2004 (a line has two ends)
        raise ValueError(_too_short(envelope))
    rates, distortions = zip(*envelope, strict=True)
    return PchipInterpolator(rates, distortions, extrapolate=False)


def mean_distortion(curve: Sequence[RatePoint], interval: RatePoint) -> float:
    """Return the mean over the rates of `interval` of the interpolated lower envelope.

    Raises:
        ValueError: the curve has fewer than two distinct rates, or does not reach over the interval.
    """
    low, high = interval
    envelope = lower_envelope(curve)
    if not low < high:
        raise ValueError(f"the rates {low:g} to {high:g} are no interval")
    if len(envelope) >= 2 and not envelope[0][0] <= low < high <= envelope[-1][0]:  # noqa: PLR2004 (as above)
        raise ValueError(f"the curve spans rates {envelope[0][0]:g} to {envelope[-1][0]:g}, not {low:g} to {high:g}")
    return float(interpolate(curve).integrate(low, high)) / (high - low)


@dataclass(frozen=True)
class CommonMeans:
    """The mean distortion of several curves over the rates that all of them span.

    `means` has one entry a curve, in their order. Where there is no such interval `interval` is None, `means`
    is empty and `reason` says why; it is empty otherwise.
    """

    interval: RatePoint | None
    means: tuple[float, ...]
    reason: str = ""


def common_means(curves: Sequence[Sequence[RatePoint]]) -> CommonMeans:
    """Compare curves by their mean distortion over the intersection of their rate ranges."""
    envelopes = [lower_envelope(curve) for curve in curves]
    for envelope in envelopes:
        if len(envelope) < 2:  # noqa: PLR2004 (a line has two ends)
            return CommonMeans(None, (), _too_short(envelope))
    if not envelopes:
        return CommonMeans(None, (), "there is no curve")
    low = max(envelope[0][0] for envelope in envelopes)
    high = min(envelope[-1][0] for envelope in envelopes)
    if high - low < RATE_RESOLUTION_NATS:
        return CommonMeans(
            None, (), f"the curves share no rates: one starts at {low:.4g}, another ends at {high:.4g} nats"
        )
    return CommonMeans((low, high), tuple(mean_distortion(curve, (low, high)) for curve in curves))


def _finite(point: RatePoint) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _too_short(envelope: Sequence[RatePoint]) -> str:
    rates = f"only the rate {envelope[0][0]:.4g} nats" if envelope else "no finite point"
    return f"a curve has {rates}; an interval takes two different rates"
