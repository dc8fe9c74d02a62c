"""The compute frontiers of a report: the best quality of each method for each training time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation import compute, frontier
from evaluation.frontier import Checkpoint, Model
from evaluation.operating_points import beta_range_text, beta_text, curve_order, same_point
from evaluation.report.content.series import grouped, pairs_of, points_at, run_of
from evaluation.report.formatting import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.compute import Clock, Spent
    from evaluation.frontier import Frontier
    from evaluation.records import Point
    from evaluation.report.content.contents import Stage, TrialRecord
    from evaluation.report.content.series import Scale

MOST_WORK = 5e6
"""The limit on the search for best subsets in one report, in cubed β-VAEs per seed: about four seconds."""


@dataclass(frozen=True)
class Line:
    """The frontier of one seed, and for each step a text that says which models or epochs reach it."""

    series: str
    seed: int
    frontier: Frontier
    reached_by: tuple[str, ...]


@dataclass(frozen=True)
class Frontiers:
    """The lines of an MR-VAE series and a series of β-VAEs, by rising seed; if there are none, the `reason`.

    `states` is the least number of measurements of an MR-VAE: 1 if it was evaluated only after training. `left_out`
    counts measurements during training that cannot be compared with the final one.
    """

    single: tuple[Line, ...] = ()
    sweep: tuple[Line, ...] = ()
    states: int = 0
    left_out: int = 0
    reason: str = ""


def work_of(sweep: Sequence[TrialRecord]) -> float:
    """Return the work of the search for the frontiers of the β-VAEs, in the unit of `MOST_WORK`."""
    return math.fsum(len(models) ** 3 for models in grouped(sweep, lambda trial: trial.seed).values())


def frontiers(
    single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], scale: Scale, speeds: Mapping[str, float]
) -> Frontiers:
    """Return the frontiers of finished trials of one MR-VAE series and one series of β-VAEs, on the report's scale.

    Only the training of the final result counts, on both sides: a shorter training would not include the measurements.
    Times on several kinds of device are converted by their `speeds`; without these there are no frontiers.
    """
    clock = _Clock.of([*single, *sweep], speeds)
    reason = scale.reason or ("" if scale.reference else "the curves have no reference point above zero")
    reason = reason or clock.reason or _unusual_points(single, sweep)
    if reason or scale.reference is None:
        return Frontiers(reason=reason)
    runs, models = (grouped(side, lambda trial: trial.seed) for side in (single, sweep))
    return Frontiers(
        single=tuple(_of_run(runs[seed][0], models[seed], scale.reference, clock) for seed in sorted(runs)),
        sweep=tuple(_of_models(models[seed], scale.reference, clock) for seed in sorted(models)),
        states=min(len(_comparable(trial)) for trial in single) + 1,
        left_out=sum(len(trial.along) - len(_comparable(trial)) for trial in single),
    )


def by_seed(lines: Sequence[Line]) -> Mapping[int, Frontier]:
    """Return the frontiers by their seed."""
    return {line.seed: line.frontier for line in lines}


@dataclass(frozen=True)
class _Clock:
    """Training times on one kind of device, by trial.

    They are CPU time where that is compared. `factors` are those by which device-seconds were converted. If times
    cannot be converted, `reason` says why.
    """

    seconds: Mapping[str, float]
    factors: Mapping[str, float]
    reason: str = ""

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], speeds: Mapping[str, float]) -> _Clock:
        clock = compute.clock_of(piece for trial in trials for piece in compute.spent(run_of(trial)))
        pieces = {trial.trial_id: _training(trial, clock) for trial in trials}
        kinds = sorted({piece.device_kind for spent in pieces.values() for piece in spent})
        taken = {trial.trial_id: _seconds(_training(trial, compute.DEVICE_TIME)) for trial in trials}
        untimed = sum(seconds <= 0 for seconds in taken.values())
        if untimed:
            return cls({}, {}, f"no device time of training is recorded for {counted(untimed, 'trial')}")
        if len(kinds) == 1:
            return cls.converted({name: _seconds(spent) for name, spent in pieces.items()}, taken)
        lacking = [kind for kind in kinds if kind not in speeds]
        if lacking:
            trained = f"the trials were trained on different kinds of device ({listed(kinds)})"
            return cls({}, {}, f"{trained}, and there is no calibration of {listed(lacking)}")
        # To the slowest, as the ratio of all compute is converted.
        slowest = min(kinds, key=speeds.__getitem__)
        converted = {name: _seconds(compute.convert(spent, speeds, slowest)) for name, spent in pieces.items()}
        return cls.converted(converted, taken)

    @classmethod
    def converted(cls, seconds: Mapping[str, float], taken: Mapping[str, float]) -> _Clock:
        """Return the times that device-seconds `taken` were converted to."""
        return cls(seconds, {name: seconds[name] / taken[name] for name in taken})


def _training(trial: TrialRecord, clock: Clock) -> list[Spent]:
    return [piece for piece in compute.compared(compute.spent(run_of(trial)), clock) if piece.phase == "train"]


def _seconds(pieces: Iterable[Spent]) -> float:
    return math.fsum(piece.device_seconds for piece in pieces)


def _of_run(run: TrialRecord, models: Sequence[TrialRecord], reference: tuple[float, float], clock: _Clock) -> Line:
    # At one point for each model of the sweep: more points alone make the hypervolume larger.
    betas = sorted({same_point(point.betas) for model in models for point in model.points}, key=curve_order)
    stages = _comparable(run)
    epochs = [*(f"after {counted(stage.epochs, 'epoch')}" for stage in stages), "after training"]
    factor = clock.factors[run.trial_id]
    states = [*((factor * stage.device_seconds, stage.points) for stage in stages)]
    states.append((clock.seconds[run.trial_id], run.points))
    checkpoints = [Checkpoint(seconds, pairs_of(points_at(points, betas))) for seconds, points in states]
    found = frontier.single_frontier(checkpoints, reference)
    return Line(run.series, run.seed, found, tuple(epochs[step.chosen[0]] for step in found.steps))


def _comparable(run: TrialRecord) -> list[Stage]:
    """Return the stages with the same β values, split, unit and examples as the final evaluation."""
    return [stage for stage in run.along if _measured_at(stage.points) == _measured_at(run.points)]


def _measured_at(points: Sequence[Point]) -> list[tuple[tuple[float, ...], str, str, int]]:
    return sorted((same_point(point.betas), point.split, point.distortion_unit, point.examples) for point in points)


def _of_models(trials: Sequence[TrialRecord], reference: tuple[float, float], clock: _Clock) -> Line:
    found = [(trial.trial_id, point) for trial in trials for point in trial.points]
    found.sort(key=lambda each: curve_order(each[1].betas))
    models = [Model(clock.seconds[trial_id], pairs_of([point])[0]) for trial_id, point in found]
    best = frontier.sweep_frontier(models, reference)
    betas = [beta_text(point.betas) for _, point in found]
    subsets = (listed([betas[index] for index in step.chosen]) for step in best.steps)
    return Line(trials[0].series, trials[0].seed, best, tuple(f"with β {subset}" for subset in subsets))


def _unusual_points(single: Sequence[TrialRecord], sweep: Sequence[TrialRecord]) -> str:
    for trial in sweep:
        if len(trial.points) != 1:
            betas = beta_range_text(trial.betas)
            return f"seed {trial.seed}: the β-VAE of β {betas} has {len(trial.points)} points, not 1"
    for seed, trials in grouped(single, lambda trial: trial.seed).items():
        if len(trials) > 1:
            return f"seed {seed} has {len(trials)} trials of {trials[0].series}"
    return ""
