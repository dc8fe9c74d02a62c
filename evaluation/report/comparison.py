"""One MR-VAE run against the sweep of β-VAEs of its seed: compute, distortion, overhead."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.compute import times_cheaper, times_cheaper_with_choice
from evaluation.curves import common_means
from evaluation.report.series import run_of
from evaluation.report.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.report.contents import SweepRecord, TrialRecord
    from evaluation.report.series import Scale, Series


@dataclass(frozen=True)
class Comparison:
    """The headline's two series, and one number a seed of each kind.

    `times_cheaper` is the sweep's device-seconds over the single run's; `distortion_differences` the MR-VAE's
    mean distortion less the sweep's. Each is empty with a reason where there is none. `sweeps` counts the
    β-VAE series that `sweep` was chosen from: the one of least mean distortion. `differences_same_betas` are
    those of the MR-VAE's points nearest the sweep's β alone, which interpolates both curves as coarsely.
    `times_cheaper_with_choice` is the ratio of all seeds together where both sides also pay for the trials that chose
    their learning rates; None where no rate was chosen so. `time_overhead` and `parameter_overhead` are fractions, of
    the time of a training image and of the parameters.
    """

    single: str
    sweep: str
    sweeps: int
    models: tuple[int, ...]
    seeds: tuple[int, ...]
    times_cheaper: tuple[float, ...] = ()
    times_cheaper_with_choice: float | None = None
    compute_reason: str = ""
    distortion_differences: tuple[float, ...] = ()
    distortion_reason: str = ""
    differences_same_betas: tuple[float, ...] = ()
    time_overhead: float | None = None
    parameter_overhead: float | None = None


def obstacle(sweep: SweepRecord, series: Sequence[Series]) -> str:
    """Return why one run cannot be set against a sweep as things stand, as a sentence; empty if it can."""
    trials = sweep.trials
    if sweep.waiting:
        return f"No comparison yet: {counted(sweep.waiting, 'trial')} wait for a learning rate to be chosen."
    if not trials:
        return "The sweep has no trials."
    if not any(trial.done for trial in trials):
        return f"No trial has finished yet: {_states(trials)}."
    unfinished = [trial for trial in trials if not trial.done]
    if unfinished:
        verb = "is" if len(unfinished) == 1 else "are"
        share = f"{len(unfinished)} of {len(trials)} trials {verb} not done"
        return f"No comparison yet: {share} ({_states(unfinished)})."
    return _one_sided(trials, series) or _unmatched_seeds(series)


def compare(record: SweepRecord, series: Sequence[Series], scale: Scale) -> Comparison:
    """Compare the first MR-VAE series with the β-VAE series of least mean distortion, seed by seed."""
    trials = record.trials
    single = next(one for one in series if one.method == "mr-vae")
    sweep, sweeps = _strongest([one for one in series if one.method == "beta-vae"])
    runs, others = ([trial for trial in trials if trial.series == one.name] for one in (single, sweep))
    seeds = tuple(seed.seed for seed in single.seeds)
    ratios, compute_reason = _ratios(runs, others, seeds)
    differences, distortion_reason = _differences(single, sweep, scale)
    return Comparison(
        single=single.name,
        sweep=sweep.name,
        sweeps=sweeps,
        models=tuple(sorted({seed.trials for seed in sweep.seeds})),
        seeds=seeds,
        times_cheaper=ratios,
        times_cheaper_with_choice=None if compute_reason else _with_choice(record, runs, others),
        compute_reason=compute_reason,
        distortion_differences=differences,
        distortion_reason=distortion_reason,
        differences_same_betas=() if distortion_reason else _differences_same_betas(single, sweep),
        time_overhead=None if compute_reason else _overhead(_seconds_per_image(runs), _seconds_per_image(others)),
        parameter_overhead=_overhead(_mean_parameters(runs), _mean_parameters(others)),
    )


def _states(trials: Sequence[TrialRecord]) -> str:
    states = [trial.state for trial in trials]
    return listed([f"{states.count(state)} {state}" for state in ("failed", "running", "pending") if state in states])


def _one_sided(trials: Sequence[TrialRecord], series: Sequence[Series]) -> str:
    methods, number = {one.method for one in series}, counted(len(trials), "trial")
    if methods == {"beta-vae"}:
        return f"Only β-VAEs were trained ({number}); a comparison takes an MR-VAE run too."
    if methods == {"mr-vae"}:
        return f"Only MR-VAEs were trained ({number}); a comparison takes a sweep of β-VAEs too."
    return ""


def _unmatched_seeds(series: Sequence[Series]) -> str:
    everywhere = {seed.seed for one in series for seed in one.seeds}
    for one in series:
        lacking = sorted(everywhere - {seed.seed for seed in one.seeds})
        if lacking:
            named = f"seed{'s' if len(lacking) > 1 else ''} {listed([str(seed) for seed in lacking])}"
            return f"No comparison yet: {one.name} lacks {named}, which others have."
    return ""


def _strongest(sweeps: Sequence[Series]) -> tuple[Series, int]:
    measured = [(one.mean_distortion, index) for index, one in enumerate(sweeps)]
    known = [(mean, index) for mean, index in measured if mean is not None]
    return sweeps[min(known)[1] if len(known) == len(sweeps) else 0], len(sweeps)


def _ratios(
    single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[tuple[float, ...], str]:
    ratios = []
    for seed in seeds:
        runs, others = ([run_of(trial) for trial in side if trial.seed == seed] for side in (single, sweep))
        if len(runs) > 1:
            return (), f"seed {seed} has {len(runs)} trials of {single[0].series}"
        ratio = times_cheaper(runs, others)
        if ratio.value is None:
            return (), ratio.reason
        ratios.append(ratio.value)
    return tuple(ratios), ""


def _with_choice(record: SweepRecord, single: Sequence[TrialRecord], sweep: Sequence[TrialRecord]) -> float | None:
    sides = [[run_of(trial) for trial in _tried_for(record, side[0].series)] for side in (single, sweep)]
    if not any(sides):
        return None
    runs, others = ([run_of(trial) for trial in side] for side in (single, sweep))
    return times_cheaper_with_choice(runs, others, *sides).value


def _tried_for(record: SweepRecord, series: str) -> list[TrialRecord]:
    known = {trial_id for choice in record.choices if choice.series == series for trial_id in choice.trial_ids}
    return [trial for trial in record.tried if trial.trial_id in known]


def _differences(single: Series, sweep: Series, scale: Scale) -> tuple[tuple[float, ...], str]:
    pairs = list(zip(single.seeds, sweep.seeds, strict=True))
    reasons = [seed.reason for pair in pairs for seed in pair if seed.mean_distortion is None]
    if reasons:
        # What stands in the way of one curve explains more than that there is nothing to compare with.
        return (), next((reason for reason in reasons if reason != scale.reason), reasons[0])
    return tuple(_less(one.mean_distortion, other.mean_distortion) for one, other in pairs), ""


def _differences_same_betas(single: Series, sweep: Series) -> tuple[float, ...]:
    found = []
    for one, other in zip(single.seeds, sweep.seeds, strict=True):
        common = common_means([one.at([point.beta for point in other.points]), other.pairs])
        if common.interval is None:
            return ()
        found.append(common.means[0] - common.means[1])
    return tuple(found)


def _less(one: float | None, other: float | None) -> float:
    return (one or 0.0) - (other or 0.0)


def _seconds_per_image(trials: Sequence[TrialRecord]) -> float | None:
    """Return the mean over trials of the median epoch's, without the first, in which everything warms up."""
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
