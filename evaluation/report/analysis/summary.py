from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.analysis.comparison import comparisons
from evaluation.report.analysis.headline import headline, tiles
from evaluation.report.analysis.incomparable_reason import incomparable_reason
from evaluation.report.analysis.missing import missing
from evaluation.report.content.series import gather

if TYPE_CHECKING:
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.headline import Tile
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import Scale, Series


@dataclass(frozen=True)
class ReportSummary:
    """Everything a report states in words and numbers, whatever its format.

    If there is no comparison, `comparisons` and `tiles` are empty and the headline gives the reason.
    """

    headline: str
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
    return ReportSummary(
        headline=_at_scale(sweep, headline(compared[0], scale) if compared else hindrance),
        tiles=tiles(compared[0], series, scale) if compared else (),
        series=series,
        scale=scale,
        comparisons=compared,
        missing=missing(sweep, series, compared, scale),
    )


def _at_scale(sweep: SweepRecord, sentence: str) -> str:
    # Headlines are quoted, so the scale is part of them.
    return f"At scale “{sweep.scaled.by}” only: {sentence}" if sweep.scaled else sentence
