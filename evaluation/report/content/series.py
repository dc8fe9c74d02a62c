"""The curves of a sweep, by series and seed, on one common scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from evaluation import compute, curves
from evaluation.operating_points import curve_order, nearest, same_point
from evaluation.report.formatting import DISTORTION_UNITS, counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from evaluation.compute import Spent
    from evaluation.operating_points import Betas
    from evaluation.records import Point
    from evaluation.report.content.contents import Method, TrialRecord

Item = TypeVar("Item")
Key = TypeVar("Key")

REFERENCE_MARGIN = 1.1


@dataclass(frozen=True)
class SeedCurve:
    """One seed of one series: its finite points by rising rate, and the summaries of a complete curve.

    Hypervolumes are shares of the reference rectangle: of all points, and of only those at the scale's β values.
    Summaries are None if trials are missing or the points are not a curve; `reason` says why.
    """

    seed: int
    trials: int
    done: int
    points: tuple[Point, ...]
    spent: tuple[Spent, ...]
    mean_distortion: float | None = None
    hypervolume: float | None = None
    hypervolume_same_betas: float | None = None
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether every trial of the curve is done."""
        return self.done == self.trials

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(rate, distortion) of every point."""
        return pairs_of(self.points)

    @cached_property
    def is_curve(self) -> bool:
        """Whether its points have at least two different rates."""
        return len(curves.lower_envelope(self.pairs)) > 1

    def at(self, betas: Sequence[Betas]) -> tuple[tuple[float, float], ...]:
        """Return (rate, distortion) of the points with the nearest β values."""
        return pairs_of(points_at(self.points, betas))

    @property
    def active_units(self) -> tuple[int, int] | None:
        """The smallest and largest number of active units of the points that have them."""
        units = [point.metrics["active_units"] for point in self.points if "active_units" in point.metrics]
        return (min(units), max(units)) if units else None


@dataclass(frozen=True)
class Series:
    """One curve label: its seeds and the parameter counts of its models."""

    name: str
    method: Method
    parameters: tuple[int, ...]
    seeds: tuple[SeedCurve, ...]

    @cached_property
    def spent(self) -> tuple[Spent, ...]:
        """The costs of all seeds."""
        return compute.total(piece for seed in self.seeds for piece in seed.spent)

    @property
    def mean_distortion(self) -> float | None:
        """Mean over the seeds of the mean distortion, None if a seed has none."""
        return mean_over_seeds([seed.mean_distortion for seed in self.seeds])


@dataclass(frozen=True)
class Scale:
    """The common scale of all curves of the report.

    `unit` is the unit of distortion, None without points or with several units; `rates` the common rate interval;
    `reference` the reference point of the hypervolume; `betas` those of the curve with the fewest points. If values are
    missing, `reason` says why.
    """

    unit: str | None = None
    rates: tuple[float, float] | None = None
    reference: tuple[float, float] | None = None
    betas: tuple[Betas, ...] = ()
    reason: str = ""


def mean_over_seeds(values: Sequence[float | None]) -> float | None:
    """Return the mean of one value for each seed, None if one of them is missing."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def pairs_of(points: Sequence[Point]) -> tuple[tuple[float, float], ...]:
    """Return (rate, distortion) of every point."""
    return tuple((point.rate_nats, point.distortion) for point in points)


def points_at(points: Sequence[Point], betas: Sequence[Betas]) -> tuple[Point, ...]:
    """Return the points nearest these β values on a logarithmic scale, in their order and each once."""
    if not points:
        return ()
    found = [point.betas for point in points]
    if set(map(same_point, found)) == set(map(same_point, betas)):
        return tuple(points)
    return tuple(points[index] for index in sorted(nearest(betas, found)))


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by their key, in the order of first appearance."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def run_of(trial: TrialRecord) -> compute.Run:
    """Return the costs of the trial for `evaluation.compute`."""
    images = sum(row.images for row in trial.history) if trial.history else None
    eval_id = trial.points[0].eval_id if trial.points else None
    return compute.Run(trial.trial_id, trial.done, trial.costs, images, eval_id)


def is_finite(point: Point) -> bool:
    """Whether rate and distortion are finite."""
    return math.isfinite(point.rate_nats) and math.isfinite(point.distortion)


def gather(trials: Sequence[TrialRecord]) -> tuple[tuple[Series, ...], Scale]:
    """Return the series in the order of their first trials, MR-VAEs first, and the scale they share."""
    groups = grouped(trials, lambda trial: trial.series)
    names = sorted(groups, key=lambda name: groups[name][0].method != "mr-vae")
    series = tuple(_series(name, groups[name]) for name in names)
    reason = _incomparable([point for trial in trials for point in trial.points])
    unit = next((point.distortion_unit for trial in trials for point in trial.points), None)
    if reason:
        return tuple(_explained(one, reason) for one in series), Scale(reason=reason)
    return _measured(series, unit)


def _series(name: str, trials: Sequence[TrialRecord]) -> Series:
    return Series(
        name=name,
        method=trials[0].method,
        parameters=tuple(sorted({trial.parameters for trial in trials if trial.parameters is not None})),
        seeds=tuple(_curve(seed, group) for seed, group in sorted(grouped(trials, lambda trial: trial.seed).items())),
    )


def _curve(seed: int, trials: Sequence[TrialRecord]) -> SeedCurve:
    points = [point for trial in trials for point in trial.points if is_finite(point)]
    points.sort(key=lambda point: (point.rate_nats, point.distortion))
    return SeedCurve(
        seed=seed,
        trials=len(trials),
        done=sum(trial.done for trial in trials),
        points=tuple(points),
        spent=compute.total(piece for trial in trials for piece in compute.spent(run_of(trial))),
    )


def _incomparable(points: Sequence[Point]) -> str:
    units = sorted({point.distortion_unit for point in points})
    splits = sorted({point.split for point in points})
    if len(units) > 1:
        named = listed([DISTORTION_UNITS.get(unit, unit) for unit in units])
        return f"distortions are in different units ({named})"
    return f"points are of different splits ({listed(splits)})" if len(splits) > 1 else ""


def _explained(series: Series, reason: str) -> Series:
    return replace(series, seeds=tuple(replace(seed, reason=reason) for seed in series.seeds))


def _measured(series: tuple[Series, ...], unit: str | None) -> tuple[tuple[Series, ...], Scale]:
    whole = {(one.name, seed.seed): seed for one in series for seed in one.seeds if seed.complete and seed.is_curve}
    common = curves.common_means([seed.pairs for seed in whole.values()])
    if len({name for name, _ in whole}) < min(2, len(series)):
        common = curves.CommonMeans(None, (), "fewer than two methods have a complete curve")
    scale = Scale(
        unit=unit,
        rates=common.interval,
        reference=_reference([pair for seed in whole.values() for pair in seed.pairs]) if common.means else None,
        betas=_fewest_betas(list(whole.values())),
        reason=common.reason,
    )
    means = dict(zip(whole, common.means, strict=False))
    summaries = {
        (one.name, seed.seed): _summary(seed, means.get((one.name, seed.seed)), scale)
        for one in series
        for seed in one.seeds
    }
    return (
        tuple(replace(one, seeds=tuple(summaries[one.name, seed.seed] for seed in one.seeds)) for one in series),
        scale,
    )


def _fewest_betas(whole: Sequence[SeedCurve]) -> tuple[Betas, ...]:
    shortest = min(whole, key=lambda seed: len(seed.points), default=None)
    return tuple(sorted({same_point(point.betas) for point in shortest.points}, key=curve_order)) if shortest else ()


def _reference(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not pairs:
        return None
    worst_rate, worst_distortion = (max(values) for values in zip(*pairs, strict=True))
    if not (worst_rate > 0 and worst_distortion > 0):
        return None
    return _round_up(REFERENCE_MARGIN * worst_rate), _round_up(REFERENCE_MARGIN * worst_distortion)


def _round_up(value: float) -> float:
    """Return the next number of two significant digits, so that a report can show the reference point exactly."""
    exponent = math.floor(math.log10(value)) - 1
    # 1.1 × 90 is a little more than 99.
    digits = math.ceil(round(value / 10.0**exponent, 9))
    return float(f"{digits}e{exponent}")


def _summary(seed: SeedCurve, mean_distortion: float | None, scale: Scale) -> SeedCurve:
    reason = _no_summary(seed)
    if reason:
        return replace(seed, reason=reason)
    return replace(
        seed,
        mean_distortion=mean_distortion,
        hypervolume=_share(seed.pairs, scale.reference),
        hypervolume_same_betas=_share(seed.at(scale.betas), scale.reference),
        reason=scale.reason,
    )


def _no_summary(seed: SeedCurve) -> str:
    if not seed.complete:
        return f"{seed.done} of {counted(seed.trials, 'trial')} done"
    if not seed.is_curve:
        verb = "is" if len(seed.points) == 1 else "are"
        return f"{counted(len(seed.points), 'point')} without two different rates {verb} no curve"
    return ""


def _share(pairs: Sequence[tuple[float, float]], reference: tuple[float, float] | None) -> float | None:
    return None if reference is None else curves.hypervolume_share(pairs, reference)
