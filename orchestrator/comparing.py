"""Compares sweeps of the store, writes what comes of it and says it in a few lines."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.reporting import print_files, print_table, written
from orchestrator.sweeps import load_sweep
from workers.store import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from evaluation.report.several import Several
    from workers.store import Store

LONGEST_FOLDER = 120


def compare_named(
    store: Store, names: Sequence[str], console: Console, *, folder: Path | None, formats: Sequence[str]
) -> None:
    """Compare sweeps of the store, and print their table, the headline, what is missing and where the files are.

    Raises UserError where a sweep is unknown or named twice, there are fewer than two, or a file cannot be written.
    """
    # Imported here because NumPy and the gathering of records take a while.
    from evaluation.report.several import compare_sweeps
    from evaluation.report.write import render_several
    from orchestrator.references import sweep_record

    _check(names)
    sweeps = [load_sweep(store, name) for name in names]
    several = compare_sweeps([sweep_record(store, sweep) for sweep in sweeps])
    place = Folder(folder) if folder else comparison_folder(store, names)
    files = written(place, render_several(several, formats))
    _print_findings(several, console)
    print_files(files, console, "Comparison")


def comparison_folder(store: Store, names: Sequence[str]) -> Folder:
    """Return where a comparison is written unless another place is named: the same for the same names in their order.

    Where the names are too long for a folder's they are cut, and told apart by a hash.
    """
    joined = "+".join(names)
    if len(joined) > LONGEST_FOLDER:
        joined = f"{joined[:LONGEST_FOLDER]}-{hashlib.sha256(joined.encode()).hexdigest()[:8]}"
    return store.folder(f"comparisons/{joined}")


def _check(names: Sequence[str]) -> None:
    if len(names) == 1:
        raise UserError(f"{names[0]} alone is no comparison; name another sweep too, or use `mrvae-orch report`")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"sweep {twice!r} is named twice; name each once")


def _print_findings(several: Several, console: Console) -> None:
    from evaluation.report.several import lacking
    from evaluation.report.several_report import several_table

    if several.compared:
        print_table(several_table(several), console)
    console.print(Text(several.headline), style="bold", soft_wrap=True)
    for sentence in (*several.notes, *lacking(several)):
        console.print(Text(f"note: {sentence}"), soft_wrap=True)
