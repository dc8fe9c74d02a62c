from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evaluation.records import parquet_bytes
from evaluation.report.analysis.summary import summarise
from evaluation.report.rendering.html import render_html
from evaluation.report.rendering.markdown import render_markdown
from evaluation.report.tables import data_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from evaluation.report.analysis.sweep_comparison import SweepComparison
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.figures.style import Kind

Contents = dict[str, bytes]
"""Files by name."""


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Exempt existing objects from garbage collection, which takes a third of the time of a large report."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_frozen_heap()
def render_formats(sweep: SweepRecord, formats: Sequence[str]) -> dict[str, Contents]:
    """Return the files of a report, by format and name.

    A format without content has no files. Raises ValueError for a format that is not in `FORMATS`.
    """
    summary = summarise(sweep)
    points = data_tables.points_table(sweep.trials)
    downloads = {
        "points.csv": data_tables.points_csv(points),
        "costs.csv": data_tables.costs_csv((*sweep.trials, *sweep.tried)),
        "trials.csv": data_tables.trials_csv((*sweep.trials, *sweep.tried)),
        "seeds.csv": data_tables.seeds_csv(summary.series),
    }

    def figures(kind: Kind) -> Contents:
        # matplotlib is slow to import, and most reports have no figures.
        from evaluation.report.figures.matplotlib_figures import render_figures

        return {f"figures/{name}": content for name, content in render_figures(summary.series, kind).items()}

    def latex() -> Contents:
        from evaluation.report.rendering.latex import latex_tables

        return {f"tables/{name}": content for name, content in latex_tables(sweep, summary).items()}

    return _rendered(
        formats,
        {
            "html": lambda: {"report.html": render_html(sweep, summary, downloads).encode()},
            "markdown": lambda: {"report.md": render_markdown(sweep, summary).encode()},
            "csv": lambda: downloads,
            "parquet": lambda: {"points.parquet": parquet_bytes(points)},
            "pdf": lambda: figures("pdf"),
            "svg": lambda: figures("svg"),
            "latex": latex,
        },
    )


@_frozen_heap()
def render_sweep_comparison(sweep_comparison: SweepComparison, formats: Sequence[str]) -> dict[str, Contents]:
    """Return the files of a comparison of sweeps, by format and name; formats are `SWEEP_COMPARISON_FORMATS`."""
    from evaluation.report.rendering import sweep_comparison as report

    def figure(kind: Kind) -> Contents:
        return (
            {f"rate-distortion.{kind}": report.sweep_comparison_figure(sweep_comparison, kind)}
            if sweep_comparison.compared
            else {}
        )

    return _rendered(
        formats,
        {
            "html": lambda: {"comparison.html": report.sweep_comparison_html(sweep_comparison).encode()},
            "markdown": lambda: {"comparison.md": report.sweep_comparison_markdown(sweep_comparison).encode()},
            "csv": lambda: {"comparison.csv": report.sweep_comparison_csv(sweep_comparison)},
            "pdf": lambda: figure("pdf"),
            "svg": lambda: figure("svg"),
            "latex": lambda: (
                {"comparison.tex": report.sweep_comparison_latex(sweep_comparison)} if sweep_comparison.compared else {}
            ),
        },
    )


def _rendered(formats: Sequence[str], contents: Mapping[str, Callable[[], Contents]]) -> dict[str, Contents]:
    unknown = next((name for name in formats if name not in contents), None)
    if unknown is not None:
        raise ValueError(f"no format {unknown!r}; choose one of {', '.join(contents)}")
    return {name: contents[name]() for name in dict.fromkeys(formats)}
