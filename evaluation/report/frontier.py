"""The compute frontiers of a report: what quality of its curve each method has for the training spent on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation import compute, frontier
from evaluation.frontier import Checkpoint, Model
from evaluation.report.series import grouped, pairs_of, points_at, run_of
from evaluation.report.wording import beta_value, counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.compute import Spent
    from evaluation.frontier import Frontier
    from evaluation.records import Point
    from evaluation.report.contents import Stage, TrialRecord
    from evaluation.report.series import Scale

ROUND_OFF = 1e-9

MOST_WORK = 5e6
"""How much finding best subsets may take in one report, in cubes of the β-VAEs of a seed: about four seconds."""


@dataclass(frozen=True)
class Line:
    """The frontier of one seed, and for each of its steps what reaches it, in words."""

    series: str
    seed: int
    frontier: Frontier
    reached_by: tuple[str, ...]


@dataclass(frozen=True)
class Frontiers:
    """The lines of an MR-VAE series and a series of β-VAEs, by rising seed; none, and the `reason`, where they lack.

    `states` is the fewest that an MR-VAE is known in: 1 where it was measured at its end only. `left_out` counts states
    that do not compare with the end.
    """

    single: tuple[Line, ...] = ()
    sweep: tuple[Line, ...] = ()
    states: int = 0
    left_out: int = 0
    reason: str = ""


def work_of(sweep: Sequence[TrialRecord]) -> float:
    """Return what the frontiers of the β-VAEs take, as `MOST_WORK` counts it."""
    return math.fsum(len(models) ** 3 for models in grouped(sweep, lambda trial: trial.seed).values())


def frontiers(
    single: Sequence[TrialRecord], sweep: Sequence[TrialRecord], scale: Scale, speeds: Mapping[str, float]
) -> Frontiers:
    """Return the frontiers of finished trials of one MR-VAE series and one series of β-VAEs, on the report's scale.

    Training counts alone, of what became the result, on both sides: an MR-VAE is measured where it is trained, and
    the time that this takes is no part of what a shorter training would cost. Times on several kinds of device are
    converted by their `speeds`, or there are no frontiers.
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


def reached_share(found: Frontiers) -> float:
    """Return which part of the sweep's best quality the MR-VAE reaches in every seed: at most 1, in whole percents.

    It is rounded down, so that a level of quality of as many percents is reached in truth and not but for round-off.
    """
    pairs = [
        (one.frontier.quality, other.frontier.quality) for one, other in zip(found.single, found.sweep, strict=True)
    ]
    least = min(one / other if other else 1.0 for one, other in pairs)
    return 1.0 if least >= 1 else max(math.floor(100 * least - ROUND_OFF), 0) / 100


@dataclass(frozen=True)
class _Clock:
    """What trials took to train, in seconds of one device: `seconds` by trial, and `factors` that they were scaled by.

    `reason` says why there is no such clock.
    """

    seconds: Mapping[str, float]
    factors: Mapping[str, float]
    reason: str = ""

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], speeds: Mapping[str, float]) -> _Clock:
        pieces = {trial.trial_id: _training(trial) for trial in trials}
        kinds = sorted({piece.device_kind for spent in pieces.values() for piece in spent})
        taken = {trial_id: _seconds(spent) for trial_id, spent in pieces.items()}
        untimed = sum(seconds <= 0 for seconds in taken.values())
        if untimed:
            return cls({}, {}, f"no device time of training is recorded for {counted(untimed, 'trial')}")
        if len(kinds) == 1:
            return cls(taken, dict.fromkeys(taken, 1.0))
        lacking = [kind for kind in kinds if kind not in speeds]
        if lacking:
            trained = f"they were trained on different kinds of device ({listed(kinds)})"
            return cls({}, {}, f"{trained}, and no calibration tells the speed of {listed(lacking)}")
        # To the slowest, as the ratio of all compute is converted.
        slowest = min(kinds, key=speeds.__getitem__)
        converted = {name: _seconds(compute.convert(spent, speeds, slowest)) for name, spent in pieces.items()}
        return cls(converted, {name: converted[name] / seconds for name, seconds in taken.items()})


def _training(trial: TrialRecord) -> list[Spent]:
    return [piece for piece in compute.spent(run_of(trial)) if piece.phase == "train" and piece.useful]


def _seconds(pieces: Iterable[Spent]) -> float:
    return math.fsum(piece.device_seconds for piece in pieces)


def _of_run(run: TrialRecord, models: Sequence[TrialRecord], reference: tuple[float, float], clock: _Clock) -> Line:
    # At as many points as the sweep has models: more points have a larger hypervolume for that alone.
    betas = sorted({model.betas[0] for model in models})
    stages = _comparable(run)
    epochs = [*(f"after {counted(stage.epochs, 'epoch')}" for stage in stages), "at its end"]
    factor = clock.factors[run.trial_id]
    states = [*((factor * stage.device_seconds, stage.points) for stage in stages)]
    states.append((clock.seconds[run.trial_id], run.points))
    checkpoints = [Checkpoint(seconds, pairs_of(points_at(points, betas))) for seconds, points in states]
    found = frontier.single_frontier(checkpoints, reference)
    return Line(run.series, run.seed, found, tuple(epochs[step.chosen[0]] for step in found.steps))


def _comparable(run: TrialRecord) -> list[Stage]:
    """Return the stages that were measured as the end was; an evaluation that changed later is of the end only."""
    return [stage for stage in run.along if _measured_at(stage.points) == _measured_at(run.points)]


def _measured_at(points: Sequence[Point]) -> list[tuple[tuple[float, ...], str, str, int]]:
    return sorted((point.betas, point.split, point.distortion_unit, point.examples) for point in points)


def _of_models(trials: Sequence[TrialRecord], reference: tuple[float, float], clock: _Clock) -> Line:
    ordered = sorted(trials, key=lambda trial: trial.betas)
    models = [Model(clock.seconds[trial.trial_id], pairs_of(trial.points)[0]) for trial in ordered]
    found = frontier.sweep_frontier(models, reference)
    betas = [beta_value(trial.betas[0]) for trial in ordered]
    subsets = (listed([betas[index] for index in step.chosen]) for step in found.steps)
    return Line(trials[0].series, trials[0].seed, found, tuple(f"with β {subset}" for subset in subsets))


def _unusual_points(single: Sequence[TrialRecord], sweep: Sequence[TrialRecord]) -> str:
    for trial in sweep:
        if len(trial.points) != 1:
            return (
                f"seed {trial.seed}: the β-VAE of β {beta_value(trial.betas[0])} has {len(trial.points)} points, not 1"
            )
    for seed, trials in grouped(single, lambda trial: trial.seed).items():
        if len(trials) > 1:
            return f"seed {seed} has {len(trials)} trials of {trials[0].series}"
    return ""
