from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.report import tables
from evaluation.report.html import render_html
from evaluation.report.markdown import render_markdown
from evaluation.report.summary import summarise

if TYPE_CHECKING:
    from evaluation.report.contents import SweepRecord


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report were written."""

    html: Path
    markdown: Path
    points_csv: Path
    points_parquet: Path
    costs_csv: Path
    trials_csv: Path


def write_report(sweep: SweepRecord, folder: Path) -> ReportFiles:
    """Write the report of a sweep into a folder, which is made if need be, and return the files.

    Each file appears whole or not at all; one that is there is replaced. Raises OSError where it cannot be.
    """
    summary = summarise(sweep)
    downloads = {
        "points.csv": tables.points_csv(sweep.trials),
        "costs.csv": tables.costs_csv((*sweep.trials, *sweep.tried)),
        "trials.csv": tables.trials_csv((*sweep.trials, *sweep.tried)),
    }
    contents = {
        "report.html": render_html(sweep, summary, downloads).encode(),
        "report.md": render_markdown(sweep, summary).encode(),
        **downloads,
        "points.parquet": tables.points_parquet(sweep.trials),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        _replace(folder / name, content)
    return ReportFiles(
        html=folder / "report.html",
        markdown=folder / "report.md",
        points_csv=folder / "points.csv",
        points_parquet=folder / "points.parquet",
        costs_csv=folder / "costs.csv",
        trials_csv=folder / "trials.csv",
    )


def _replace(path: Path, content: bytes) -> None:
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
