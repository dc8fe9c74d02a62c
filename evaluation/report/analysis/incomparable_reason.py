"""The reason why a sweep has no comparison yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.report.formatting import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Series


def incomparable_reason(sweep: SweepRecord, series: Sequence[Series]) -> str:
    """Return why no MR-VAE can be compared with β-VAEs yet, as a sentence; empty if it can."""
    trials = sweep.trials
    if sweep.waiting:
        verb = "is" if sweep.waiting == 1 else "are"
        return f"No comparison yet: {counted(sweep.waiting, 'trial')} {verb} waiting for the choice of a learning rate."
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


def _states(trials: Sequence[TrialRecord]) -> str:
    states = [trial.state for trial in trials]
    known = ("failed", "running", "cancelled", "pending")
    return listed([f"{states.count(state)} {state}" for state in known if state in states])


def _one_sided(trials: Sequence[TrialRecord], series: Sequence[Series]) -> str:
    methods, number = {one.method for one in series}, counted(len(trials), "trial")
    if methods == {"beta-vae"}:
        return f"Only β-VAEs were trained ({number}); a comparison also needs an MR-VAE run."
    if methods == {"mr-vae"}:
        return f"Only MR-VAEs were trained ({number}); a comparison also needs a sweep of β-VAEs."
    return ""


def _unmatched_seeds(series: Sequence[Series]) -> str:
    everywhere = {seed.seed for one in series for seed in one.seeds}
    for one in series:
        lacking = sorted(everywhere - {seed.seed for seed in one.seeds})
        if lacking:
            named = f"seed{'s' if len(lacking) > 1 else ''} {listed([str(seed) for seed in lacking])}"
            return f"No comparison yet: {one.name} has no {named}, but other series do."
    return ""
