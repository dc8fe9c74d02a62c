"""Sentences on missing results, with the command or the option that adds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.operating_points import NOT_OVER_BETA, beta_range_text, beta_text, common_beta
from evaluation.report.analysis.comparison import MOST_PAIRS, pairs_left_out
from evaluation.report.content.series import is_finite
from evaluation.report.formatting import counted, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Scale, Series

FAILURES_SHOWN = 5


def missing(
    sweep: SweepRecord, series: Sequence[Series], comparisons: Sequence[Comparison], scale: Scale
) -> tuple[str, ...]:
    """Return one sentence for each failed, unfinished or missing result and each comparison that is not possible."""
    done = [trial for trial in sweep.trials if trial.done]
    sentences = [*_in_full(sweep), *_failures(sweep.trials), *_unfinished(sweep.trials)]
    sentences += [*_cancelled(sweep.name, sweep.trials), *_not_finite(sweep.trials)]
    sentences += [*_failed_metrics(sweep.name, done), *_not_measured(sweep.name, done)]
    sentences += _not_over_beta(sweep.trials)
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
        sentences.append("There is one seed, so no number has an interval; intervals need more seeds in the spec.")
    return sentences


def _along(comparison: Comparison) -> list[str]:
    sentences, found = [], comparison.frontiers
    if found.left_out:
        left_out = f"{counted(found.left_out, 'measurement')} during training"
        sentences.append(f"{left_out} cannot be compared with the final one: other β values or examples.")
    if found.states == 1:
        sentences.append(
            f"{comparison.single} was evaluated only after training, so its compute frontier has one step; set "
            "“evaluation.intermediate” in the spec of a new sweep to evaluate it during training."
        )
    return sentences


def _too_many(series: Sequence[Series]) -> list[str]:
    left_out = pairs_left_out(series)
    if not left_out:
        return []
    pairs = counted(MOST_PAIRS, "pair")
    return [f"{pairs} of an MR-VAE series and a series of β-VAEs are compared; {left_out:,} more are left out."]


def describe(trial: TrialRecord) -> str:
    """Return the trial in words: its series, β and seed."""
    return f"{trial.series}, β {beta_range_text(trial.betas)}, seed {trial.seed}"


def _in_full(sweep: SweepRecord) -> list[str]:
    if sweep.scaled is None:
        return []
    how = f"submit without “--scale {sweep.scaled.by}” to run the spec in full"
    return [f"These results are of the scale “{sweep.scaled.by}” and are no evidence for the spec in full: {how}."]


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


def _failed_metrics(name: str, done: Sequence[TrialRecord]) -> list[str]:
    trials: dict[str, list[TrialRecord]] = {}
    for trial in done:
        for text in trial.failed_metrics.values():
            trials.setdefault(text, []).append(trial)
    how = f"“mrvae-orch retry {name} --failed” evaluates again without training"
    return [f"{_first_of(found)}: {text}; {how}." for text, found in trials.items()]


def _first_of(trials: Sequence[TrialRecord]) -> str:
    return describe(trials[0]) + (f" and {counted(len(trials) - 1, 'other trial')}" if len(trials) > 1 else "")


def _unfinished(trials: Sequence[TrialRecord]) -> list[str]:
    count = sum(trial.state in ("running", "pending") for trial in trials)
    if count == 0:
        return []
    how = "run the same submit command again; finished trials are not repeated"
    return [f"{counted(count, 'trial')} {_are(count)} not finished: {how}."]


def _cancelled(name: str, trials: Sequence[TrialRecord]) -> list[str]:
    count = sum(trial.state == "cancelled" for trial in trials)
    if count == 0:
        return []
    verb = "was" if count == 1 else "were"
    return [f"{counted(count, 'trial')} {verb} cancelled: `mrvae-orch retry {name} --failed` undoes this."]


def _not_finite(trials: Sequence[TrialRecord]) -> list[str]:
    return [
        f"{describe(trial)}: {_values(point)} are not finite; the point is left out of the curves."
        for trial in trials
        for point in trial.points
        if not is_finite(point)
    ]


def _not_over_beta(trials: Sequence[TrialRecord]) -> list[str]:
    count = sum(common_beta(point.betas) is None for trial in trials for point in trial.points)
    left_out = "left out of the charts over β and of the β slider"
    return [f"{counted(count, 'operating point')} {_are(count)} {left_out}: {NOT_OVER_BETA}."] if count else []


def _values(point: Point) -> str:
    rate, distortion = significant(point.rate_nats), significant(point.distortion)
    return f"rate {rate} and distortion {distortion} at β {beta_text(point.betas)}"


def _not_measured(name: str, done: Sequence[TrialRecord]) -> list[str]:
    lacking = {
        "operating points": [trial for trial in done if not trial.points],
        "active units": [
            trial
            for trial in done
            if any("active_units" not in point.metrics for point in trial.points)
            and "active_units" not in trial.failed_metrics
        ],
        "pictures": [
            trial
            for trial in done
            if trial.pictures is None
            and trial.texts is None
            and not {"pictures", "sentences"} & trial.failed_metrics.keys()
        ],
    }
    command = f"“mrvae-orch evaluate {name}” adds them without training"
    return [
        f"{counted(len(trials), 'finished trial')} {'has' if len(trials) == 1 else 'have'} no {thing}; {command}."
        for thing, trials in lacking.items()
        if trials
    ]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
