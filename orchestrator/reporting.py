"""Writes a sweep's report and says in a few lines what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from evaluation.report.formats import USUAL
from orchestrator.errors import UserError
from workers.store import Folder, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from evaluation.report import text_tables
    from evaluation.report.contents import SweepRecord
    from evaluation.report.write import Contents
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


def report_folder(sweep: Sweep) -> Folder:
    """Return where a sweep's report is written unless another place is named."""
    return sweep.folder.inside("report")


def write_sweep_report(
    store: Store,
    sweep: Sweep,
    ledger: Mapping[str, TrialStatus],
    console: Console,
    folder: Path | None = None,
    formats: Sequence[str] = USUAL,
) -> None:
    """Write the report from what the store holds, and print its table, its headline and where it is.

    Raises UserError where the folder cannot be written.
    """
    # Imported here because plotly and NumPy take a while, and most commands write no report.
    from evaluation.report.write import render_formats
    from orchestrator.results import gather
    from orchestrator.tracking_place import run_pages

    record = gather(store, sweep, ledger, run_pages(store, sweep.name))
    files = written(Folder(folder) if folder else report_folder(sweep), render_formats(record, formats))
    _print_findings(record, console)
    print_files(files, console, "Report")


def written(folder: Folder, rendered: Mapping[str, Contents]) -> dict[str, tuple[str, ...]]:
    """Write the files of a report, by its formats, and return where each is. Raises UserError where it cannot."""
    try:
        for contents in rendered.values():
            for name, content in contents.items():
                folder.write(name, content)
    except StoreError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        raise UserError(f"the report cannot be written to {folder}: {reason}") from error
    return {form: tuple(folder.place(name) for name in contents) for form, contents in rendered.items()}


def print_files(files: Mapping[str, Sequence[str]], console: Console, what: str) -> None:
    """Print where a report is: its page, and what stands beside it only where it was asked for."""
    for name, paths in files.items():
        if name == "html":
            console.print(f"{what}: {paths[0]}", soft_wrap=True)
        elif not paths:
            console.print(f"{what} as {name}: nothing to write, since no trial has finished", soft_wrap=True)
        elif name not in USUAL or "html" not in files:
            place = paths[0] if len(paths) == 1 else f"{len(paths)} files in {paths[0].rpartition('/')[0]}"
            console.print(f"{what} as {name}: {place}", soft_wrap=True)


def print_table(table: text_tables.Table, console: Console, columns: Collection[str] | None = None) -> None:
    """Print a table of a report, or some of its columns, between empty lines."""
    shown = [index for index, column in enumerate(table.columns) if columns is None or column in columns]
    printed = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for index in shown:
        column = table.columns[index]
        printed.add_column(column, justify="left" if column in table.words else "right")
    for row in table.rows:
        printed.add_row(*(Text(row[index].text) for index in shown))
    console.print()
    console.print(printed)
    console.print()


def _print_findings(record: SweepRecord, console: Console) -> None:
    from evaluation.report.summary import summarise
    from evaluation.report.text_tables import methods_table

    summary = summarise(record)
    print_table(methods_table(summary.series), console, SHOWN_COLUMNS)
    console.print(Text(summary.headline), style="bold", soft_wrap=True)
