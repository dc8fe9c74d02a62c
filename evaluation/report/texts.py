"""What models make of sentences, as the page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.report.contents import Texts, TrialRecord


def text_data(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return what the page shows over β, for every seed: test sentences, and the models by rising β."""
    return [_of_seed(seed, trials) for seed in sorted({trial.seed for trial in trials if _shows(trial)})]


def _shows(trial: TrialRecord) -> bool:
    return trial.texts is not None and bool(trial.texts.betas) and bool(trial.texts.originals)


def _of_seed(seed: int, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    series: dict[str, list[Texts]] = {}
    for trial in trials:
        if trial.seed == seed and _shows(trial) and trial.texts is not None:
            series.setdefault(trial.series, []).append(trial.texts)
    originals = next(iter(series.values()))[0].originals
    return {"seed": seed, "originals": originals, "series": [_of_series(name, texts) for name, texts in series.items()]}


def _of_series(name: str, texts: Sequence[Texts]) -> dict[str, Any]:
    """Put together what a series shows, one multi-rate model at many β or many models at one each, by rising β."""
    rows = sorted(
        (beta, one.greedy[index], one.sampled[index], one.samples[index])
        for one in texts
        for index, beta in enumerate(one.betas)
    )
    betas, greedy, sampled, samples = zip(*rows, strict=True)
    return {"name": name, "betas": betas, "greedy": greedy, "sampled": sampled, "samples": samples}
