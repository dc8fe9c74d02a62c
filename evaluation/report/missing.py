"""What a report lacks, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.report.comparison import MOST_PAIRS, pairs_left_out
from evaluation.report.series import is_finite
from evaluation.report.wording import beta_range, beta_value, counted, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point
    from evaluation.report.comparison import Comparison
    from evaluation.report.contents import SweepRecord, TrialRecord
    from evaluation.report.series import Scale, Series

FAILURES_SHOWN = 5


def missing(
    sweep: SweepRecord, series: Sequence[Series], comparisons: Sequence[Comparison], scale: Scale
) -> tuple[str, ...]:
    """Return one sentence for everything that failed, is not there yet, or cannot be compared."""
    done = [trial for trial in sweep.trials if trial.done]
    sentences = [*_in_full(sweep), *_failures(sweep.trials), *_unfinished(sweep.trials)]
    sentences += [*_cancelled(sweep.name, sweep.trials), *_not_finite(sweep.trials), *_not_measured(sweep.name, done)]
    if scale.reason and done:
        sentences.append(f"Mean distortion is not shown: {scale.reason}.")
    if comparisons:
        sentences += [*_not_compared(comparisons[0]), *_along(comparisons[0]), *_too_many(series)]
    return (*sentences, *sweep.notes)


def _not_compared(comparison: Comparison) -> list[str]:
    sentences = []
    if comparison.times_cheaper.reason:
        sentences.append(f"The ratio of compute is not shown: {comparison.times_cheaper.reason}.")
    if comparison.frontiers.reason:
        sentences.append(f"The compute frontier is not shown: {comparison.frontiers.reason}.")
    elif comparison.equal_quality.reason:
        sentences.append(f"Training at equal quality is not compared: {comparison.equal_quality.reason}.")
    if len(comparison.seeds) == 1:
        sentences.append("There is one seed, so nothing here has an interval; more seeds in the spec give one.")
    return sentences


def _along(comparison: Comparison) -> list[str]:
    sentences, found = [], comparison.frontiers
    if found.left_out:
        left_out = f"{counted(found.left_out, 'measurement')} during training"
        sentences.append(f"{left_out} cannot be compared with the end: made at other β or on other examples.")
    if found.states == 1:
        sentences.append(
            f"{comparison.single} was measured at its end only, so its compute frontier is one step; a new sweep with "
            "“evaluation.along” in its spec measures it while it trains."
        )
    return sentences


def _too_many(series: Sequence[Series]) -> list[str]:
    left_out = pairs_left_out(series)
    if not left_out:
        return []
    pairs = counted(MOST_PAIRS, "pair")
    return [f"{pairs} of an MR-VAE series and a series of β-VAEs are compared here, {left_out:,} more are not."]


def describe(trial: TrialRecord) -> str:
    """Return the trial in words: its series, β and seed."""
    return f"{trial.series}, β {beta_range(trial.betas)}, seed {trial.seed}"


def _in_full(sweep: SweepRecord) -> list[str]:
    if sweep.scaled is None:
        return []
    how = f"the same submit command without “--scale {sweep.scaled.by}” runs the spec in full"
    return [f"These figures are of the scale “{sweep.scaled.by}” and tell nothing of the spec in full: {how}."]


def _failures(trials: Sequence[TrialRecord]) -> list[str]:
    failed = [trial for trial in trials if trial.state == "failed"]
    sentences = [_failure(trial) for trial in failed[:FAILURES_SHOWN]]
    if len(failed) > FAILURES_SHOWN:
        more = len(failed) - FAILURES_SHOWN
        sentences.append(f"{counted(more, 'more trial')} failed; the table of trials has all messages.")
    return sentences


def _failure(trial: TrialRecord) -> str:
    attempts = counted(trial.attempts, "attempt")
    return f"{describe(trial)} failed after {attempts}: {trial.message or 'no message'}"


def _unfinished(trials: Sequence[TrialRecord]) -> list[str]:
    count = sum(trial.state in ("running", "pending") for trial in trials)
    if count == 0:
        return []
    verb = "is" if count == 1 else "are"
    how = "the same submit command again runs what is left and nothing twice"
    return [f"{counted(count, 'trial')} {verb} still to finish: {how}."]


def _cancelled(name: str, trials: Sequence[TrialRecord]) -> list[str]:
    count = sum(trial.state == "cancelled" for trial in trials)
    if count == 0:
        return []
    verb = "was" if count == 1 else "were"
    return [f"{counted(count, 'trial')} {verb} cancelled: `mrvae-orch retry {name} --failed` takes that back."]


def _not_finite(trials: Sequence[TrialRecord]) -> list[str]:
    return [
        f"{describe(trial)}: {_values(point)} are not finite; the point is left out of the curves."
        for trial in trials
        for point in trial.points
        if not is_finite(point)
    ]


def _values(point: Point) -> str:
    rate, distortion = significant(point.rate_nats), significant(point.distortion)
    return f"rate {rate} and distortion {distortion} at β {beta_value(point.beta)}"


def _not_measured(name: str, done: Sequence[TrialRecord]) -> list[str]:
    lacking = {
        "operating points": [trial for trial in done if not trial.points],
        "active units": [trial for trial in done if any(point.active_units is None for point in trial.points)],
        "pictures": [trial for trial in done if trial.pictures is None and trial.texts is None],
    }
    command = f"“mrvae-orch evaluate {name}” adds them without training"
    return [
        f"{counted(len(trials), 'finished trial')} {_have(len(trials))} no {thing}; {command}."
        for thing, trials in lacking.items()
        if trials
    ]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
