"""Comparisons of sweeps: written to a folder, and printed in a few lines."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.reports.write import print_files, print_table, written
from orchestrator.sweeps.sweep import load_sweep
from workers.store.store import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from evaluation.report.analysis.sweep_comparison import SweepComparison
    from workers.store.store import Store

LONGEST_FOLDER = 120


def compare_named(
    store: Store, names: Sequence[str], console: Console, *, folder: Path | None, formats: Sequence[str]
) -> None:
    """Compare sweeps of the store, and print the table, the headline, what is missing and the files.

    Raises UserError if a sweep is unknown or named twice, there are fewer than two, or a file cannot be written.
    """
    # Imported here because NumPy and the gathering of records take a while.
    from evaluation.report.analysis.sweep_comparison import compare_sweeps
    from evaluation.report.rendering.render import render_sweep_comparison
    from orchestrator.reports.gather import sweep_record

    _check(names)
    sweeps = [load_sweep(store, name) for name in names]
    sweep_comparison = compare_sweeps([sweep_record(store, sweep) for sweep in sweeps])
    place = Folder(folder) if folder else comparison_folder(store, names)
    files = written(place, render_sweep_comparison(sweep_comparison, formats))
    _print_findings(sweep_comparison, console)
    print_files(files, console, "Comparison")


def comparison_folder(store: Store, names: Sequence[str]) -> Folder:
    """Return the default folder of a comparison: the same for the same names in the same order.

    Names that are too long for a folder are cut, with a hash to distinguish them.
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


def _print_findings(sweep_comparison: SweepComparison, console: Console) -> None:
    from evaluation.report.analysis.sweep_comparison import missing_results
    from evaluation.report.rendering.sweep_comparison import sweep_comparison_table

    if sweep_comparison.compared:
        print_table(sweep_comparison_table(sweep_comparison), console)
    console.print(Text(sweep_comparison.headline), style="bold", soft_wrap=True)
    for sentence in (*sweep_comparison.notes, *missing_results(sweep_comparison)):
        console.print(Text(f"note: {sentence}"), soft_wrap=True)
