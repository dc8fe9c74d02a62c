"""Writing of a sweep's report, and its findings in a few lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from evaluation.report.formatting import counted
from evaluation.report.rendering.formats import USUAL
from orchestrator.errors import UserError
from orchestrator.reports.earlier import results_only_there
from orchestrator.sweeps.sweep import report_folder
from workers.outcome import TrialState
from workers.store.store import Folder, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.rendering.render import Contents
    from evaluation.report.tables import text_tables
    from orchestrator.sweeps.status import TrialStatus
    from orchestrator.sweeps.sweep import Sweep
    from workers.store.store import Store

MOST_NAMED = 5
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
"""The columns of the report's table of methods that fit a terminal."""


def write_sweep_report(
    store: Store,
    sweep: Sweep,
    statuses: Mapping[str, TrialStatus],
    console: Console,
    folder: Path | None = None,
    formats: Sequence[str] = USUAL,
) -> bool:
    """Write the report from the current store, and print its table, its headline and its location.

    Returns False where the report in the sweep's folder has results that cannot be read now: it is not replaced.
    Raises UserError if the folder cannot be written.
    """
    # Imported here because plotly and NumPy take a while, and most commands write no report.
    from evaluation.report.rendering.render import render_formats
    from orchestrator.reports.gather import gather
    from orchestrator.tracking.config import run_pages

    record = gather(store, sweep, statuses, run_pages(store, sweep.name))
    place = Folder(folder) if folder else report_folder(sweep)
    lost = [] if folder else results_only_there(place, record)
    files = {} if lost else written(place, render_formats(record, formats))
    _print_findings(record, console)
    left_out = [
        trial for trial in record.trials if not trial.done and statuses[trial.trial_id].state == TrialState.DONE
    ]
    if left_out:
        what = f"The results of {counted(len(left_out), 'finished trial')} cannot be used, and are left out"
        console.print(Text(f"{what}: {left_out[0].message}{' …' if left_out[1:] else ''}"), soft_wrap=True)
    if lost:
        console.print(_not_replaced(sweep.name, place, lost), style="bold", soft_wrap=True)
    print_files(files, console, "Report")
    return not lost


def _not_replaced(name: str, place: Folder, lost: Sequence[str]) -> str:
    ids = ", ".join(trial_id[:8] for trial_id in lost[:MOST_NAMED]) + (", …" if len(lost) > MOST_NAMED else "")
    return (
        f"The report in {place} is not replaced: it has the results of {counted(len(lost), 'trial')} that cannot be "
        f"read now ({ids}). Submit the sweep again to restore them, or write a report without them elsewhere: "
        f"mrvae-orch report {name} --out FOLDER"
    )


def written(folder: Folder, rendered: Mapping[str, Contents]) -> dict[str, tuple[str, ...]]:
    """Write the files of a report and return their locations by format.

    Raises UserError if one cannot be written; an earlier report on a disk is then still whole.
    """
    _write(folder, {name: content for contents in rendered.values() for name, content in contents.items()})
    return {form: tuple(folder.place(name) for name in contents) for form, contents in rendered.items()}


def print_files(files: Mapping[str, Sequence[str]], console: Console, what: str) -> None:
    """Print the location of a report's page, and of other formats if they were requested."""
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
    from evaluation.report.analysis.summary import summarise
    from evaluation.report.tables.text_tables import methods_table

    summary = summarise(record)
    print_table(methods_table(summary.series), console, SHOWN_COLUMNS)
    console.print(Text(summary.headline), style="bold", soft_wrap=True)


def write_file(folder: Folder, name: str, content: bytes) -> None:
    """Write a file atomically. Raises UserError if it cannot be written."""
    _write(folder, {name: content})


def _write(folder: Folder, contents: Mapping[str, bytes]) -> None:
    try:
        folder.write_all(contents)
    except StoreError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        place = folder.place(next(iter(contents)) if len(contents) == 1 else "")
        raise UserError(f"{place} cannot be written: {reason}") from error
