from __future__ import annotations

import gc
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.records import parquet_bytes
from evaluation.report import tables
from evaluation.report.formats import USUAL
from evaluation.report.html import render_html
from evaluation.report.markdown import render_markdown
from evaluation.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from evaluation.figure_style import Kind
    from evaluation.report.contents import SweepRecord
    from evaluation.report.several import Several

Contents = dict[str, bytes]


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report in its usual formats were written."""

    html: Path
    markdown: Path
    points_csv: Path
    points_parquet: Path
    costs_csv: Path
    trials_csv: Path
    seeds_csv: Path


@contextmanager
def _records_at_rest() -> Iterator[None]:
    """Have Python not look through the records for cycles while it makes others: that is a third of a large report."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def write_report(sweep: SweepRecord, folder: Path) -> ReportFiles:
    """Write the report of a sweep into a folder, which is made if need be, and return the files.

    Each file appears whole or not at all; one that is there is replaced. Raises OSError where it cannot be.
    """
    write_formats(sweep, folder, USUAL)
    return ReportFiles(
        html=folder / "report.html",
        markdown=folder / "report.md",
        points_csv=folder / "points.csv",
        points_parquet=folder / "points.parquet",
        costs_csv=folder / "costs.csv",
        trials_csv=folder / "trials.csv",
        seeds_csv=folder / "seeds.csv",
    )


def write_formats(sweep: SweepRecord, folder: Path, formats: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Write the report in some of `FORMATS` and return the files of each; figures and tables have folders of their own.

    A format has no file where there is nothing to draw. Everything else is as in `write_report`.

    Raises:
        ValueError: a format is unknown.
        OSError: a file cannot be written.
    """
    return _write(folder, render_formats(sweep, formats))


@_records_at_rest()
def render_formats(sweep: SweepRecord, formats: Sequence[str]) -> dict[str, Contents]:
    """Return the files of the report in some of `FORMATS`, by name. Raises ValueError where a format is unknown."""
    summary = summarise(sweep)
    points = tables.points_table(sweep.trials)
    downloads = {
        "points.csv": tables.points_csv(sweep.trials, points),
        "costs.csv": tables.costs_csv((*sweep.trials, *sweep.tried)),
        "trials.csv": tables.trials_csv((*sweep.trials, *sweep.tried)),
        "seeds.csv": tables.seeds_csv(summary.series),
    }

    def figures(kind: Kind) -> Contents:
        # matplotlib takes a while to import, and most reports have no figures.
        from evaluation.figures import render_figures

        return {f"figures/{name}": content for name, content in render_figures(summary.series, kind).items()}

    def latex() -> Contents:
        from evaluation.report.latex import latex_tables

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


def write_several(several: Several, folder: Path, formats: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Write a comparison of sweeps in some of `SEVERAL_FORMATS`; everything else is as in `write_formats`."""
    return _write(folder, render_several(several, formats))


@_records_at_rest()
def render_several(several: Several, formats: Sequence[str]) -> dict[str, Contents]:
    """Return the files of a comparison in some of `SEVERAL_FORMATS`, by name, as `render_formats` does."""
    from evaluation.report import several_report as report

    def figure(kind: Kind) -> Contents:
        return {f"rate-distortion.{kind}": report.several_figure(several, kind)} if several.compared else {}

    return _rendered(
        formats,
        {
            "html": lambda: {"comparison.html": report.several_html(several).encode()},
            "markdown": lambda: {"comparison.md": report.several_markdown(several).encode()},
            "csv": lambda: {"comparison.csv": report.several_csv(several)},
            "pdf": lambda: figure("pdf"),
            "svg": lambda: figure("svg"),
            "latex": lambda: {"comparison.tex": report.several_latex(several)} if several.compared else {},
        },
    )


def _rendered(formats: Sequence[str], contents: Mapping[str, Callable[[], Contents]]) -> dict[str, Contents]:
    unknown = next((name for name in formats if name not in contents), None)
    if unknown is not None:
        raise ValueError(f"no format {unknown!r}; choose of {', '.join(contents)}")
    # All is made before anything is written: what fails on the way leaves the report as it was.
    return {name: contents[name]() for name in dict.fromkeys(formats)}


def _write(folder: Path, made: Mapping[str, Contents]) -> dict[str, tuple[Path, ...]]:
    for files in made.values():
        for name, content in files.items():
            _replace(folder / name, content)
    folder.mkdir(parents=True, exist_ok=True)
    return {name: tuple(folder / file for file in files) for name, files in made.items()}


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files for the owner alone; a report is for others too.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
