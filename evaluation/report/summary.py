from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.comparison import compare, obstacle
from evaluation.report.headline import headline, tiles
from evaluation.report.missing import missing
from evaluation.report.series import gather

if TYPE_CHECKING:
    from evaluation.report.comparison import Comparison
    from evaluation.report.contents import SweepRecord
    from evaluation.report.headline import Tile
    from evaluation.report.series import Scale, Series


@dataclass(frozen=True)
class ReportSummary:
    """Everything a report states in words and numbers, whatever its format.

    `comparison` is None and `tiles` is empty where the headline says what is missing instead.
    """

    headline: str
    tiles: tuple[Tile, ...]
    series: tuple[Series, ...]
    scale: Scale
    comparison: Comparison | None
    missing: tuple[str, ...]


def summarise(sweep: SweepRecord) -> ReportSummary:
    """Return the summary of a sweep: pure, and the same for the same record."""
    series, scale = gather(sweep.trials)
    hindrance = obstacle(sweep, series)
    comparison = None if hindrance else compare(sweep, series, scale)
    return ReportSummary(
        headline=_at_scale(sweep, headline(comparison, scale) if comparison else hindrance),
        tiles=tiles(comparison, series, scale) if comparison else (),
        series=series,
        scale=scale,
        comparison=comparison,
        missing=missing(sweep, comparison, scale),
    )


def _at_scale(sweep: SweepRecord, sentence: str) -> str:
    # The headline is what gets quoted, so it carries this itself.
    return f"At scale “{sweep.scaled.by}” only: {sentence}" if sweep.scaled else sentence
