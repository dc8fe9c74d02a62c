from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.analysis.comparison import comparisons
from evaluation.report.analysis.headline import headline, tiles, warnings
from evaluation.report.analysis.incomparable_reason import incomparable_reason
from evaluation.report.analysis.missing import missing
from evaluation.report.analysis.verdict import verdict
from evaluation.report.content.series import gather

if TYPE_CHECKING:
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.headline import Tile
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import Scale, Series


@dataclass(frozen=True)
class ReportSummary:
    """Everything a report states in words and numbers, whatever its format.

    If there is no comparison, `comparisons` and `tiles` are empty and the headline gives the reason. `warnings` stand
    before the headline, and `rule` says by which conditions its answer was given.
    """

    headline: str
    rule: str
    warnings: tuple[str, ...]
    tiles: tuple[Tile, ...]
    series: tuple[Series, ...]
    scale: Scale
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]

    @property
    def comparison(self) -> Comparison | None:
        """The comparison of the headline."""
        return self.comparisons[0] if self.comparisons else None


def summarise(sweep: SweepRecord) -> ReportSummary:
    """Return the summary of a sweep."""
    series, scale = gather(sweep.trials)
    hindrance = incomparable_reason(sweep, series)
    compared = () if hindrance else comparisons(sweep, series, scale)
    first = compared[0] if compared else None
    answer = verdict(first) if first else None
    return ReportSummary(
        headline=_at_scale(sweep, headline(first, answer, scale) if first and answer else hindrance),
        rule=answer.rule if answer else "",
        warnings=tuple(warnings(first, scale)) if first else (),
        tiles=tiles(first, scale) if first else (),
        series=series,
        scale=scale,
        comparisons=compared,
        missing=missing(sweep, series, compared, scale),
    )


def _at_scale(sweep: SweepRecord, sentence: str) -> str:
    # Headlines are quoted, so the scale is part of them.
    return f"At scale “{sweep.scaled.by}” only: {sentence}" if sweep.scaled else sentence
