"""Writes a sweep's report and says in a few lines what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from evaluation.report.contents import SweepRecord
    from orchestrator.ledger import TrialStatus
    from orchestrator.sweeps import Sweep
    from workers.store import Store

SHOWN_COLUMNS = (
    "method",
    "trials",
    "parameters",
    "train",
    "evaluate",
    "mean distortion",
    "hypervolume",
    "active units",
)
"""Of the report's table of methods, what fits a terminal."""


def report_folder(sweep: Sweep) -> Path:
    """Return where a sweep's report is written unless another place is named."""
    return sweep.folder / "report"


def write_sweep_report(
    store: Store,
    sweep: Sweep,
    ledger: Mapping[str, TrialStatus],
    console: Console,
    folder: Path | None = None,
) -> None:
    """Write the report from what the store holds, and print its table, its headline and where it is.

    Raises UserError where the folder cannot be written.
    """
    # Imported here because plotly and NumPy take a while, and most commands write no report.
    from evaluation.report.write import write_report
    from orchestrator.results import gather
    from orchestrator.tracking_place import run_pages

    record = gather(store, sweep, ledger, run_pages(store, sweep.name))
    try:
        files = write_report(record, folder or report_folder(sweep))
    except OSError as error:
        raise UserError(
            f"the report cannot be written to {folder or report_folder(sweep)}: {error.strerror}"
        ) from error
    _print_findings(record, console)
    console.print(f"Report: {files.html}", soft_wrap=True)


def _print_findings(record: SweepRecord, console: Console) -> None:
    from evaluation.report.summary import summarise
    from evaluation.report.text_tables import methods_table

    summary = summarise(record)
    methods = methods_table(summary.series)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    shown = [index for index, column in enumerate(methods.columns) if column in SHOWN_COLUMNS]
    for index in shown:
        column = methods.columns[index]
        table.add_column(column, justify="left" if column in methods.words else "right")
    for row in methods.rows:
        table.add_row(*(Text(row[index].text) for index in shown))
    console.print()
    console.print(table)
    console.print()
    console.print(Text(summary.headline), style="bold", soft_wrap=True)
