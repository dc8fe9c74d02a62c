"""Comparison of one MR-VAE run with sweeps of β-VAEs of the same seeds: compute, distortion, frontiers, overhead."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evaluation.compute import times_cheaper, times_cheaper_with_choice
from evaluation.curves import COLLAPSED_RATE_NATS, bd_distortion, bd_rate, common_means
from evaluation.frontier import compare as compare_frontiers
from evaluation.report.analysis.frontier import MOST_WORK, Frontiers, by_seed, frontiers, reached_share, work_of
from evaluation.report.content.series import grouped, run_of
from evaluation.statistics import Estimate, bootstrap, probability_of_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evaluation.curves import Difference, RatePoint
    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Scale, SeedCurve, Series

MOST_PAIRS = 24
"""The largest number of pairs of an MR-VAE series and a series of β-VAEs that are compared."""


@dataclass(frozen=True)
class OverSeeds:
    """One number for each seed, by rising seed, and their estimate; `values` is empty if there is none."""

    values: tuple[float, ...]
    estimate: Estimate

    @property
    def reason(self) -> str:
        """Why there is no number; empty if there is one."""
        return self.estimate.reason if self.estimate.value is None else ""


@dataclass(frozen=True)
class Comparison:
    """An MR-VAE series against one series of β-VAEs, paired by seed.

    `times_cheaper` is the sweep's device-seconds over the single run's. `distortion` is the MR-VAE's mean distortion
    minus the sweep's, and `improvement` the probability that it is lower. `equal_quality` is the sweep's training time
    over the MR-VAE's to reach `share` times the sweep's best quality, `equal_compute` the MR-VAE's quality minus the
    sweep's at the same training time. `bd_distortion` and `bd_rate` are Bjøntegaard differences, `bd_overlap` the least
    share of the rates that both curves span.

    `sweeps` is the number of β-VAE series, and `models` their models per seed. `differences_same_betas` are differences
    of mean distortion for only the MR-VAE's points nearest the sweep's β values, so that both curves have the same
    gaps. `times_cheaper_with_choice` is the ratio of all seeds together, including the trials that chose learning
    rates; None if no rate was chosen by trials. `time_overhead` (per training image) and `parameter_overhead` are
    fractions. `remark` says how times on different kinds of device were converted.
    """

    single: str
    sweep: str
    sweeps: int
    models: tuple[int, ...]
    seeds: tuple[int, ...]
    times_cheaper: OverSeeds
    distortion: OverSeeds
    improvement: Estimate
    equal_quality: OverSeeds
    equal_compute: OverSeeds
    bd_distortion: OverSeeds
    bd_rate: OverSeeds
    bd_overlap: float | None
    share: float
    frontiers: Frontiers = field(repr=False)
    times_cheaper_with_choice: float | None = None
    differences_same_betas: tuple[float, ...] = ()
    time_overhead: float | None = None
    parameter_overhead: float | None = None
    remark: str = ""


def comparisons(record: SweepRecord, series: Sequence[Series], scale: Scale) -> tuple[Comparison, ...]:
    """Compare every MR-VAE series with every series of β-VAEs, at most `MOST_PAIRS` pairs.

    The report's headline is the first: the first MR-VAE series against the β-VAE series of least mean distortion.
    """
    trials = grouped(record.trials, lambda trial: trial.series)
    singles, sweeps = ([one for one in series if one.method == method] for method in ("mr-vae", "beta-vae"))
    strongest = _strongest(sweeps)
    ordered = [strongest, *(one for one in sweeps if one is not strongest)]
    found: list[Comparison] = []
    work = MOST_WORK
    for single, sweep in [(single, sweep) for single in singles for sweep in ordered][:MOST_PAIRS]:
        sides = trials[single.name], trials[sweep.name]
        work -= work_of(sides[1])
        lines = frontiers(*sides, scale, record.speeds) if work >= 0 else Frontiers(reason=_too_much_work(sides[1]))
        found.append(_compare(record, (single, sweep), sides, len(sweeps), scale, lines))
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
    cheaper, remark = _times_cheaper(*sides, seeds, record.speeds)
    distortion = _distortion(pair, scale)
    distortion_bd, overlap = _bjontegaard(pair, scale, bd_distortion)
    share = 1.0 if lines.reason else reached_share(lines)
    equal_quality, equal_compute = _frontier_numbers(lines, share, len(seeds))
    return Comparison(
        single=single.name,
        sweep=sweep.name,
        sweeps=sweeps,
        models=tuple(sorted({seed.trials for seed in sweep.seeds})),
        seeds=seeds,
        times_cheaper=cheaper,
        distortion=distortion,
        improvement=_improvement(pair, distortion),
        equal_quality=equal_quality,
        equal_compute=equal_compute,
        bd_distortion=distortion_bd,
        bd_rate=_bjontegaard(pair, scale, bd_rate)[0],
        bd_overlap=overlap,
        share=share,
        frontiers=lines,
        times_cheaper_with_choice=None if cheaper.reason else _with_choice(record, *sides),
        differences_same_betas=() if distortion.reason else _differences_same_betas(*pair),
        # Times of a step on different devices would compare the devices.
        time_overhead=None if cheaper.reason or remark else _overhead(*map(_seconds_per_image, sides)),
        parameter_overhead=_overhead(*map(_mean_parameters, sides)),
        remark=remark,
    )


def _over_seeds(values: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> OverSeeds:
    return OverSeeds(tuple(values), bootstrap(values, statistic))


def _nothing(reason: str, seeds: int) -> OverSeeds:
    return OverSeeds((), Estimate(None, seeds=(seeds,), reason=reason))


def _strongest(sweeps: Sequence[Series]) -> Series:
    measured = [(one.mean_distortion, index) for index, one in enumerate(sweeps)]
    known = [(mean, index) for mean, index in measured if mean is not None]
    return sweeps[min(known)[1] if len(known) == len(sweeps) else 0]


def _times_cheaper(
    single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], seeds: Sequence[int], speeds: Mapping[str, float]
) -> tuple[OverSeeds, str]:
    """Return the ratio and a remark on the conversion of times."""
    sides: list[Mapping[int, list[TrialRecord]]] = [grouped(side, lambda trial: trial.seed) for side in (single, sweep)]
    ratios, remark = [], ""
    for seed in seeds:
        runs, others = ([run_of(trial) for trial in side[seed]] for side in sides)
        if len(runs) > 1:
            return _nothing(f"seed {seed} has {len(runs)} trials of {single[0].series}", len(seeds)), ""
        ratio = times_cheaper(runs, others, speeds=speeds)
        if ratio.value is None:
            return _nothing(ratio.reason, len(seeds)), ""
        ratios.append(ratio.value)
        remark = remark or ratio.remark
    return _over_seeds(ratios, statistics.geometric_mean), remark


def _with_choice(record: SweepRecord, single: Sequence[TrialRecord], sweep: Sequence[TrialRecord]) -> float | None:
    tried, others_tried = ([run_of(trial) for trial in _tried_for(record, side[0].series)] for side in (single, sweep))
    if not (tried or others_tried):
        return None
    runs, others = ([run_of(trial) for trial in side] for side in (single, sweep))
    return times_cheaper_with_choice(runs, others, tried, others_tried, speeds=record.speeds).value


def _tried_for(record: SweepRecord, series: str) -> list[TrialRecord]:
    known = {trial_id for choice in record.choices if choice.series == series for trial_id in choice.trial_ids}
    return [trial for trial in record.tried if trial.trial_id in known]


def _distortion(pair: tuple[Series, Series], scale: Scale) -> OverSeeds:
    single, sweep = pair
    found = _mean_distortions(pair)
    if len(found) == len(single.seeds):
        return _over_seeds([one - other for one, other in found], statistics.fmean)
    reasons = [seed.reason for one in pair for seed in one.seeds if seed.mean_distortion is None]
    # The reason of a single curve explains more than that of the common scale.
    reason = next((reason for reason in reasons if reason != scale.reason), reasons[0])
    return _nothing(reason, len(sweep.seeds))


def _mean_distortions(pair: tuple[Series, Series]) -> list[tuple[float, float]]:
    """Return the mean distortions of both methods, for the seeds that have both."""
    return [
        (one.mean_distortion, other.mean_distortion)
        for one, other in zip(pair[0].seeds, pair[1].seeds, strict=True)
        if one.mean_distortion is not None and other.mean_distortion is not None
    ]


def _improvement(pair: tuple[Series, Series], distortion: OverSeeds) -> Estimate:
    if distortion.reason:
        return distortion.estimate
    found = _mean_distortions(pair)
    if len(found) == 1:
        return Estimate(None, seeds=(1,), reason="a probability of improvement needs two or more seeds")
    return bootstrap(found, probability_of_improvement)


def _bjontegaard(
    pair: tuple[Series, Series], scale: Scale, measure: Callable[..., Difference]
) -> tuple[OverSeeds, float | None]:
    """Return a Bjøntegaard difference of the MR-VAE's curve from the sweep's, and its least overlap."""
    seeds = len(pair[0].seeds)
    if scale.unit is None:
        return _nothing(scale.reason, seeds), None
    curves = [[_without_collapse(curve) for curve in both] for both in zip(pair[1].seeds, pair[0].seeds, strict=True)]
    found = [measure(anchor, test) for anchor, test in curves]
    values = [difference.value for difference in found if difference.value is not None]
    if len(values) < seeds:
        return _nothing(next(difference.reason for difference in found if difference.value is None), seeds), None
    return _over_seeds(values, statistics.fmean), min(difference.overlap for difference in found)


def _without_collapse(curve: SeedCurve) -> list[RatePoint]:
    # Bjøntegaard differences take logarithms of rates, which are meaningless for collapsed models.
    return [pair for pair in curve.pairs if pair[0] >= COLLAPSED_RATE_NATS]


def _frontier_numbers(lines: Frontiers, share: float, seeds: int) -> tuple[OverSeeds, OverSeeds]:
    """Return the ratio of compute at equal quality, and the difference of quality at equal compute."""
    if lines.reason:
        return _nothing(lines.reason, seeds), _nothing(lines.reason, seeds)
    found = compare_frontiers(by_seed(lines.single), by_seed(lines.sweep), share=share)
    ratios = tuple(ratio.value for ratio in found.compute_ratios if ratio.value is not None)
    return (
        OverSeeds(() if found.compute_ratio.value is None else ratios, found.compute_ratio),
        OverSeeds(found.quality_differences, found.quality_difference),
    )


def _too_much_work(sweep: Sequence[TrialRecord]) -> str:
    most = max(len(models) for models in grouped(sweep, lambda trial: trial.seed).values())
    return f"the search for the best subsets of {most} β-VAEs per seed would take too long"


def _differences_same_betas(single: Series, sweep: Series) -> tuple[float, ...]:
    found = []
    for one, other in zip(single.seeds, sweep.seeds, strict=True):
        common = common_means([one.at([point.betas for point in other.points]), other.pairs])
        if common.interval is None:
            return ()
        found.append(common.means[0] - common.means[1])
    return tuple(found)


def _seconds_per_image(trials: Sequence[TrialRecord]) -> float | None:
    """Return the mean over trials of that of the median epoch, without the first epoch, which includes warm-up."""
    rates = [
        statistics.median(row.seconds / row.images for row in trial.history[1:] if row.images)
        for trial in trials
        if len(trial.history) > 1
    ]
    return statistics.fmean(rates) if rates else None


def _mean_parameters(trials: Sequence[TrialRecord]) -> float | None:
    counts = [trial.parameters for trial in trials if trial.parameters is not None]
    return statistics.fmean(counts) if counts else None


def _overhead(single: float | None, sweep: float | None) -> float | None:
    return single / sweep - 1 if single and sweep else None
