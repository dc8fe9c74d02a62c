"""Reconstructed and sampled sentences for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation.operating_points import over_beta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.report.content.contents import Texts, TrialRecord


def text_data(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the sentences of each seed: test sentences, and those of each series by rising β."""
    return [_of_seed(seed, trials) for seed in sorted({trial.seed for trial in trials if _shows(trial)})]


def _shows(trial: TrialRecord) -> bool:
    return trial.texts is not None and bool(over_beta(trial.texts.betas)) and bool(trial.texts.originals)


def _of_seed(seed: int, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    series: dict[str, list[Texts]] = {}
    for trial in trials:
        if trial.seed == seed and _shows(trial) and trial.texts is not None:
            series.setdefault(trial.series, []).append(trial.texts)
    originals = next(iter(series.values()))[0].originals
    return {"seed": seed, "originals": originals, "series": [_of_series(name, texts) for name, texts in series.items()]}


def _of_series(name: str, texts: Sequence[Texts]) -> dict[str, Any]:
    """Return the sentences of a series by rising β: one multi-rate model at many β values, or several at one each."""
    rows = sorted(
        (beta, one.greedy[index], one.sampled[index], one.samples[index])
        for one in texts
        for beta, index in over_beta(one.betas)
    )
    betas, greedy, sampled, samples = zip(*rows, strict=True)
    return {"name": name, "betas": betas, "greedy": greedy, "sampled": sampled, "samples": samples}
