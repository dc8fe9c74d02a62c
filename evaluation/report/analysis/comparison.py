"""Comparison of one MR-VAE run with sweeps of β-VAEs of the same seeds: compute, distortion, frontiers, overhead."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evaluation.compute import DEVICE_TIME, clock_of, compared, spent, times_cheaper, times_cheaper_with_choice
from evaluation.curves import COLLAPSED_RATE_NATS, bd_distortion, bd_rate
from evaluation.frontier import compute_ratio, quality_difference
from evaluation.report.analysis.equal_rates import equal_rates
from evaluation.report.analysis.frontier import MOST_WORK, Frontiers, by_seed, frontiers, work_of
from evaluation.report.analysis.over_seeds import OverSeeds, nothing
from evaluation.report.content.series import grouped, run_of
from evaluation.statistics import mean_estimate, pair_by_seed, ratio_estimate, without_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evaluation.compute import Clock, Run
    from evaluation.curves import Difference, RatePoint
    from evaluation.frontier import Frontier
    from evaluation.report.analysis.equal_rates import EqualRates
    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Scale, SeedCurve, Series

MOST_PAIRS = 24
"""The largest number of pairs of an MR-VAE series and a series of β-VAEs that are compared."""


@dataclass(frozen=True)
class Cost:
    """The times of the one run and of the sweep: `ratio` is the sweep's over the run's.

    `seconds` are the geometric means over the seeds of both, whose ratio is that of `ratio`. They are CPU time or
    device time, as `clock` says; `by_device_time` is the ratio of device times. `with_choice` is the ratio of all seeds
    together, including the trials that chose learning rates; None if no rate was chosen by trials. `remark` says how
    times on different kinds of device were converted.
    """

    ratio: OverSeeds
    seconds: tuple[float, float] = (0.0, 0.0)
    clock: Clock = DEVICE_TIME
    by_device_time: float | None = None
    with_choice: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """An MR-VAE series against one series of β-VAEs, paired by seed.

    `sweeps` is the number of β-VAE series that could be ranked by their mean distortion, and `models` their models per
    seed. `equal_quality` is the sweep's training time over the MR-VAE's to reach the lower of their best qualities,
    `equal_compute` the MR-VAE's quality minus the sweep's at the same training time. `bd_distortion` and `bd_rate` are
    Bjøntegaard differences, `bd_overlap` the least share of the rates that both curves span. `time_overhead` (per
    training image) and `parameter_overhead` are fractions.
    """

    single: str
    sweep: str
    sweeps: int
    models: tuple[int, ...]
    seeds: tuple[int, ...]
    cost: Cost
    equal_rates: EqualRates
    equal_quality: OverSeeds
    equal_compute: OverSeeds
    bd_distortion: OverSeeds
    bd_rate: OverSeeds
    bd_overlap: float | None
    frontiers: Frontiers = field(repr=False)
    time_overhead: float | None = None
    parameter_overhead: float | None = None

    @property
    def times_cheaper(self) -> OverSeeds:
        """The sweep's time over the run's."""
        return self.cost.ratio

    @property
    def distortion(self) -> OverSeeds:
        """The MR-VAE's mean distortion minus the sweep's, at equal rates."""
        return self.equal_rates.distortion


def comparisons(record: SweepRecord, series: Sequence[Series], scale: Scale) -> tuple[Comparison, ...]:
    """Compare every MR-VAE series with every series of β-VAEs, at most `MOST_PAIRS` pairs.

    The report's headline is the first: the first MR-VAE series against the β-VAE series of least mean distortion.
    """
    trials = grouped(record.trials, lambda trial: trial.series)
    singles, sweeps = ([one for one in series if one.method == method] for method in ("mr-vae", "beta-vae"))
    strongest, ranked = _strongest(sweeps)
    ordered = [strongest, *(one for one in sweeps if one is not strongest)]
    found: list[Comparison] = []
    work = MOST_WORK
    for single, sweep in [(single, sweep) for single in singles for sweep in ordered][:MOST_PAIRS]:
        sides = trials[single.name], trials[sweep.name]
        work -= work_of(sides[1])
        lines = frontiers(*sides, scale, record.speeds) if work >= 0 else Frontiers(reason=_too_much_work(sides[1]))
        found.append(_compare(record, (single, sweep), sides, ranked, scale, lines))
    return tuple(found)


def pairs_left_out(series: Sequence[Series]) -> int:
    """Return how many pairs of an MR-VAE series and a series of β-VAEs are not compared."""
    singles = sum(one.method == "mr-vae" for one in series)
    return max(singles * (len(series) - singles) - MOST_PAIRS, 0)


def _compare(
    record: SweepRecord,
    pair: tuple[Series, Series],
    sides: tuple[Sequence[TrialRecord], Sequence[TrialRecord]],
    sweeps: int,
    scale: Scale,
    lines: Frontiers,
) -> Comparison:
    single, sweep = pair
    seeds = tuple(seed.seed for seed in single.seeds)
    cost = _cost(record, *sides, seeds)
    distortion_bd, overlap = _bjontegaard(pair, scale, bd_distortion)
    return Comparison(
        single=single.name,
        sweep=sweep.name,
        sweeps=sweeps,
        models=tuple(sorted({seed.trials for seed in sweep.seeds})),
        seeds=seeds,
        cost=cost,
        equal_rates=equal_rates(pair, scale, trained_betas=sides[0][0].betas),
        equal_quality=_equal_quality(lines, seeds),
        equal_compute=_equal_compute(lines, seeds),
        bd_distortion=distortion_bd,
        bd_rate=_bjontegaard(pair, scale, bd_rate)[0],
        bd_overlap=overlap,
        frontiers=lines,
        # Times of a step on different devices would compare the devices.
        time_overhead=None if cost.ratio.reason or cost.remark else _overhead(*_seconds_per_image(sides, cost.clock)),
        parameter_overhead=_overhead(*map(_mean_parameters, sides)),
    )


def _strongest(sweeps: Sequence[Series]) -> tuple[Series, int]:
    """Return the series of least mean distortion, and the number of series that have one; the first if none has."""
    known = [(one.mean_distortion, index) for index, one in enumerate(sweeps) if one.mean_distortion is not None]
    return sweeps[min(known)[1] if known else 0], len(known)


def _cost(
    record: SweepRecord, single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], seeds: Sequence[int]
) -> Cost:
    sides: list[Mapping[int, list[TrialRecord]]] = [grouped(side, lambda trial: trial.seed) for side in (single, sweep)]
    twice = next((seed for seed in seeds if len(sides[0][seed]) > 1), None)
    if twice is not None:
        return Cost(nothing(f"seed {twice} has {len(sides[0][twice])} trials of {single[0].series}", len(seeds)))
    clock = clock_of(piece for trial in (*single, *sweep) for piece in spent(run_of(trial)))
    found, by_device = (
        [times_cheaper(*_runs(seed, sides), each, speeds=record.speeds) for seed in seeds]
        for each in (clock, DEVICE_TIME)
    )
    reason = next((ratio.reason for ratio in (*found, *by_device) if ratio.value is None), "")
    if reason:
        return Cost(nothing(reason, len(seeds)))
    values, by_device_time = (
        tuple(ratio.value for ratio in ratios if ratio.value is not None) for ratios in (found, by_device)
    )
    run_seconds, sweep_seconds = zip(*(ratio.seconds for ratio in found), strict=True)
    return Cost(
        OverSeeds(values, ratio_estimate(values)),
        seconds=(statistics.geometric_mean(run_seconds), statistics.geometric_mean(sweep_seconds)),
        clock=clock,
        by_device_time=statistics.geometric_mean(by_device_time),
        with_choice=_with_choice(record, single, sweep, clock),
        remark=next((ratio.remark for ratio in found if ratio.remark), ""),
    )


def _runs(seed: int, sides: Sequence[Mapping[int, Sequence[TrialRecord]]]) -> tuple[list[Run], list[Run]]:
    single, sweep = ([run_of(trial) for trial in side[seed]] for side in sides)
    return single, sweep


def _with_choice(
    record: SweepRecord, single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], clock: Clock
) -> float | None:
    tried, others_tried = ([run_of(trial) for trial in _tried_for(record, side[0].series)] for side in (single, sweep))
    if not (tried or others_tried):
        return None
    runs, others = ([run_of(trial) for trial in side] for side in (single, sweep))
    if any(cost.cpu_seconds is None for run in (*tried, *others_tried) for cost in run.costs):
        clock = DEVICE_TIME
    return times_cheaper_with_choice(runs, others, tried, others_tried, clock, speeds=record.speeds).value


def _tried_for(record: SweepRecord, series: str) -> list[TrialRecord]:
    known = {trial_id for choice in record.choices if choice.series == series for trial_id in choice.trial_ids}
    return [trial for trial in record.tried if trial.trial_id in known]


def _bjontegaard(
    pair: tuple[Series, Series], scale: Scale, measure: Callable[..., Difference]
) -> tuple[OverSeeds, float | None]:
    """Return a Bjøntegaard difference of the MR-VAE's curve from the sweep's, and its least overlap."""
    seeds = len(pair[0].seeds)
    if scale.unit is None:
        return nothing(scale.reason, seeds), None
    curves = [[_without_collapse(curve) for curve in both] for both in zip(pair[1].seeds, pair[0].seeds, strict=True)]
    found = [measure(anchor, test) for anchor, test in curves]
    values = [difference.value for difference in found if difference.value is not None]
    if len(values) < seeds:
        return nothing(next(difference.reason for difference in found if difference.value is None), seeds), None
    return OverSeeds(tuple(values), mean_estimate(values)), min(difference.overlap for difference in found)


def _without_collapse(curve: SeedCurve) -> list[RatePoint]:
    # Bjøntegaard differences take logarithms of rates, which are meaningless for collapsed models.
    return [pair for pair in curve.pairs if pair[0] >= COLLAPSED_RATE_NATS]


def _equal_quality(lines: Frontiers, seeds: Sequence[int]) -> OverSeeds:
    if lines.reason:
        return nothing(lines.reason, len(seeds))
    found = [compute_ratio(*both) for both in _by_seed(lines)]
    reasons = [f"seed {seed}: {ratio.reason}" for seed, ratio in zip(seeds, found, strict=True) if ratio.reason]
    if reasons:
        return nothing(reasons[0], len(seeds))
    values = tuple(ratio.value for ratio in found if ratio.value is not None)
    # Hypervolumes depend on all seeds, by their reference point.
    return OverSeeds(values, without_interval(ratio_estimate(values)))


def _equal_compute(lines: Frontiers, seeds: Sequence[int]) -> OverSeeds:
    if lines.reason:
        return nothing(lines.reason, len(seeds))
    found = [quality_difference(*both) for both in _by_seed(lines)]
    values = tuple(difference for difference in found if difference is not None)
    if len(values) < len(found):
        return nothing("the two have different numbers of points", len(seeds))
    return OverSeeds(values, without_interval(mean_estimate(values)))


def _by_seed(lines: Frontiers) -> tuple[tuple[Frontier, Frontier], ...]:
    return pair_by_seed(by_seed(lines.single), by_seed(lines.sweep))


def _too_much_work(sweep: Sequence[TrialRecord]) -> str:
    most = max(len(models) for models in grouped(sweep, lambda trial: trial.seed).values())
    return f"the search for the best subsets of {most} β-VAEs per seed would take too long"


def _seconds_per_image(
    sides: tuple[Sequence[TrialRecord], Sequence[TrialRecord]], clock: Clock
) -> tuple[float | None, float | None]:
    """Return the mean over the trials of each side of the training time of an image, by the clock."""
    single, sweep = ([each for trial in side if (each := _of_an_image(trial, clock))] for side in sides)
    return (statistics.fmean(single) if single else None, statistics.fmean(sweep) if sweep else None)


def _of_an_image(trial: TrialRecord, clock: Clock) -> float | None:
    images = sum(row.images for row in trial.history)
    pieces = compared(spent(run_of(trial)), clock)
    seconds = math.fsum(piece.device_seconds for piece in pieces if piece.phase == "train")
    return seconds / images if images and seconds else None


def _mean_parameters(trials: Sequence[TrialRecord]) -> float | None:
    counts = [trial.parameters for trial in trials if trial.parameters is not None]
    return statistics.fmean(counts) if counts else None


def _overhead(single: float | None, sweep: float | None) -> float | None:
    return single / sweep - 1 if single and sweep else None
