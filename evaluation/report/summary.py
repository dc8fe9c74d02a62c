from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.comparison import comparisons
from evaluation.report.headline import headline, tiles
from evaluation.report.missing import missing
from evaluation.report.obstacle import obstacle
from evaluation.report.series import gather

if TYPE_CHECKING:
    from evaluation.report.comparison import Comparison
    from evaluation.report.contents import SweepRecord
    from evaluation.report.headline import Tile
    from evaluation.report.series import Scale, Series


@dataclass(frozen=True)
class ReportSummary:
    """Everything a report states in words and numbers, whatever its format.

    `comparisons` and `tiles` are empty where the headline says what is missing instead.
    """

    headline: str
    tiles: tuple[Tile, ...]
    series: tuple[Series, ...]
    scale: Scale
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]

    @property
    def comparison(self) -> Comparison | None:
        """The comparison that the headline is about."""
        return self.comparisons[0] if self.comparisons else None


def summarise(sweep: SweepRecord) -> ReportSummary:
    """Return the summary of a sweep: pure, and the same for the same record."""
    series, scale = gather(sweep.trials)
    hindrance = obstacle(sweep, series)
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
    # The headline is what gets quoted, so it carries this itself.
    return f"At scale “{sweep.scaled.by}” only: {sentence}" if sweep.scaled else sentence
