"""Both methods at equal rates and at the same β."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evaluation.curves import common_means, lower_envelope
from evaluation.operating_points import curve_order, same_point
from evaluation.report.analysis.over_seeds import OverSeeds, nothing
from evaluation.report.content.series import pairs_of
from evaluation.statistics import mean_estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.curves import RatePoint
    from evaluation.operating_points import Betas
    from evaluation.report.content.series import Scale, SeedCurve, Series


ROUND_OFF = 1e-9
"""Of the logarithm of β."""


@dataclass(frozen=True)
class EqualRates:
    """Both methods at equal rates, seed by seed: over the rates that the two curves of the seed span.

    `distortion` is the MR-VAE's mean distortion minus the sweep's. `straight` is its mean over seeds with straight
    lines between points in place of the monotone cubic. `sweep` is the sweep's mean distortion there in each seed,
    `rates` the least and the largest rate of any seed, `reached` the share of the sweep's rates that the MR-VAE spans
    in each seed. `points` is the smallest number of points of a curve.

    Of the MR-VAE's points, those at the sweep's β values are used, so that both curves have the same gaps, and those at
    smaller and larger β within its own range, since a run gives these too. If `same_betas` is false, it was not
    measured at every β value of the sweep within its own, and all of its points are used. `without_point` is the number
    of β-VAEs, over all seeds, whose rate or distortion is not finite.
    """

    distortion: OverSeeds
    straight: float | None = None
    sweep: tuple[float, ...] = ()
    rates: tuple[float, float] | None = None
    reached: tuple[float, ...] = ()
    points: int = 0
    same_betas: bool = True
    without_point: int = 0


def equal_rates(pair: tuple[Series, Series], scale: Scale, trained_betas: Sequence[Betas]) -> EqualRates:
    """Compare an MR-VAE, trained between these β, with a sweep."""
    seeds = len(pair[0].seeds)
    reason = _no_curves(pair, scale)
    if reason:
        return EqualRates(nothing(reason, seeds))
    low, high = sorted((_place(trained_betas[0]), _place(trained_betas[-1])))
    trained = low - ROUND_OFF, high + ROUND_OFF
    singles = [_within(seed, trained) for seed in pair[0].seeds]
    curves = [_at_the_sweeps_betas(*both, trained) for both in zip(singles, pair[1].seeds, strict=True)]
    same_betas = all(same for _, same in curves)
    pairs = [
        (kept if same_betas else one.pairs, other.pairs)
        for (kept, _), one, other in zip(curves, singles, pair[1].seeds, strict=True)
    ]
    found = [common_means(both) for both in pairs]
    reached = tuple(_share(common.interval, other) for common, (_, other) in zip(found, pairs, strict=True))
    reason = next((common.reason for common in found if common.interval is None), "")
    if reason:
        return EqualRates(nothing(reason, seeds), reached=reached)
    differences = tuple(common.means[0] - common.means[1] for common in found)
    intervals = [common.interval for common in found if common.interval is not None]
    return EqualRates(
        OverSeeds(differences, mean_estimate(differences)),
        straight=statistics.fmean(common.straight[0] - common.straight[1] for common in found),
        sweep=tuple(common.means[1] for common in found),
        rates=(min(low for low, _ in intervals), max(high for _, high in intervals)),
        reached=reached,
        points=min(len(lower_envelope(curve)) for both in pairs for curve in both),
        same_betas=same_betas,
        without_point=sum(seed.trials - len(seed.points) for seed in pair[1].seeds),
    )


def _no_curves(pair: tuple[Series, Series], scale: Scale) -> str:
    if scale.unit is None:
        return scale.reason
    # A curve that is whole has the reason of the scale only, which other series may be the cause of.
    return next((seed.reason for one in pair for seed in one.seeds if not (seed.complete and seed.is_curve)), "")


def _at_the_sweeps_betas(
    one: SeedCurve, other: SeedCurve, trained: tuple[float, float]
) -> tuple[tuple[RatePoint, ...], bool]:
    """Return an MR-VAE's points at the β values of the sweep and beyond its ends, and whether it has all it could."""
    wanted = {same_point(point.betas) for point in other.points}
    ends = sorted(map(_place, wanted))
    kept = [
        point
        for point in one.points
        if (key := same_point(point.betas)) in wanted or not ends[0] <= _place(key) <= ends[-1]
    ]
    lacking = wanted - {same_point(point.betas) for point in kept}
    return pairs_of(kept), len(kept) > 1 and not any(trained[0] <= _place(betas) <= trained[1] for betas in lacking)


def _within(seed: SeedCurve, trained: tuple[float, float]) -> SeedCurve:
    """Return a curve without points at β that the model was not trained for."""
    return replace(seed, points=tuple(p for p in seed.points if trained[0] <= _place(p.betas) <= trained[1]))


def _place(betas: Betas) -> float:
    return curve_order(betas)[0]


def _share(interval: RatePoint | None, sweep: Sequence[RatePoint]) -> float:
    """Return the share of the sweep's rates that an interval covers."""
    if interval is None:
        return 0.0
    envelope = lower_envelope(sweep)
    return (interval[1] - interval[0]) / (envelope[-1][0] - envelope[0][0])
