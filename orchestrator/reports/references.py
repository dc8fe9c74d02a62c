"""References of a store: found by name, listed, and recorded from its sweeps."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from evaluation.references.reference import (
    Reference,
    ReferenceFileError,
    check_name,
    from_bytes,
    packaged_names,
    read_packaged,
)
from orchestrator.errors import UserError, hint
from orchestrator.reports.gather import sweep_record
from orchestrator.reports.write import write_file
from workers.store.store import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from orchestrator.sweeps.sweep import Sweep
    from workers.store.store import Store

SUFFIX = ".json"


def reference_names(store: Store) -> list[str]:
    """Return the names of the store's references, then of the published ones."""
    own = [name.removesuffix(SUFFIX) for name in _references(store).names(f"*{SUFFIX}")]
    return [*own, *packaged_names()]


def find_reference(store: Store, name: str) -> Reference:
    """Return a reference of the store, a published one, or the one in a file.

    A name with a slash, or one that ends in `.json`, is a file. Raises UserError if there is none or it cannot be read.
    """
    if os.sep in name or name.endswith(SUFFIX):
        path, file = name, Path(name)
        content = Folder(file.parent).read(file.name)
        if content is None:
            raise UserError(f"{path}: no such file; `mrvae-orch check --list` shows the references that have names")
    else:
        _check_name(name)
        path = _references(store).place(name + SUFFIX)
        content = _references(store).read(name + SUFFIX)
        if content is None and name in packaged_names():
            return read_packaged(name)
        if content is None:
            raise UserError(f"no reference {name!r} in the store {store}; {hint(name, reference_names(store))}")
    try:
        return from_bytes(content, path)
    except ReferenceFileError as error:
        raise UserError(str(error)) from error


def record_sweep(
    store: Store,
    sweep: Sweep,
    name: str,
    *,
    out: Path | None,
    tolerance: float | None,
    replace: bool,
    now: float,
) -> tuple[Reference, str]:
    """Write a sweep as a reference, into the store or elsewhere, and return it with its file.

    Raises UserError if the name is taken or the sweep is not done.
    """
    from evaluation.references.recording import recorded

    _check_name(name)
    if name in packaged_names():
        raise UserError(f"{name!r} is the name of a published reference; choose another")
    folder, file = (Folder(out.parent), out.name) if out else (_references(store), name + SUFFIX)
    path = folder.place(file)
    if folder.exists(file) and not replace:
        raise UserError(f"{path} is there already; choose another name, or replace it with --replace")
    try:
        reference = recorded(sweep_record(store, sweep), name, tolerance=tolerance, now=now)
    except ValueError as error:
        raise UserError(f"{sweep.name} cannot be recorded: {error}") from error
    write_file(folder, file, reference.to_bytes())
    return reference, path


def print_references(store: Store, console: Console) -> None:
    """Print a table of all references; one that cannot be read is listed with the reason."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("name", "kind", "date", "data, network", "curves", "seeds", "tolerance"):
        table.add_column(column)
    for name in reference_names(store):
        try:
            reference = find_reference(store, name)
        except UserError as error:
            table.add_row(name, "damaged", Text(str(error)))
            continue
        table.add_row(*map(Text, _row(reference)))
    console.print(table)


def describe_spread(reference: Reference) -> Iterator[str]:
    """Yield a line for each curve: mean distortion, spread over seeds, precision of a sweep with as many seeds."""
    from evaluation.curves import common_means
    from evaluation.statistics import difference_of_means

    for curve in reference.curves:
        common = common_means([seed.points for seed in curve.seeds])
        if common.interval is None:
            yield f"{curve.name}: {common.reason}"
            continue
        mean, seeds = statistics.fmean(common.means), len(common.means)
        rates = " to ".join(f"{end:.4g}" for end in common.interval)
        line = f"{curve.name}: mean distortion {mean:.4g} over rates {rates} nats"
        told = difference_of_means(common.means, common.means).half_width
        if told is None:
            yield f"{line}, one seed: nothing is known of its spread, and a check takes two or more"
            continue
        yield (
            f"{line}, standard deviation {statistics.stdev(common.means):.2g} of {seeds} seeds; "
            f"a sweep of as many is known to ±{told:.2g}"
        )


def _row(reference: Reference) -> tuple[str, ...]:
    about = [reference.settings.get(key, "several") for key in ("dataset.name", "architecture.name")]
    bounds = dict.fromkeys((reference.tolerance.curve, reference.tolerance.difference))
    return (
        reference.name,
        reference.kind,
        reference.date,
        ", ".join(about),
        "; ".join(curve.name for curve in reference.curves),
        str(max(len(curve.seeds) for curve in reference.curves)),
        " and ".join("no value" if bound is None else f"±{bound:g}" for bound in bounds),
    )


def _references(store: Store) -> Folder:
    return store.folder("references")


def _check_name(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from error
