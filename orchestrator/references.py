"""The references of a store: found by name, listed, and recorded from its sweeps."""

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
from orchestrator.errors import UserError
from orchestrator.nearest import hint
from workers.store import Folder, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from evaluation.report.contents import SweepRecord
    from orchestrator.sweeps import Sweep
    from workers.store import Store

SUFFIX = ".json"


def reference_names(store: Store) -> list[str]:
    """Return the names of the store's references, then of the published ones."""
    own = [name.removesuffix(SUFFIX) for name in _references(store).names(f"*{SUFFIX}")]
    return [*own, *packaged_names()]


def find_reference(store: Store, name: str) -> Reference:
    """Return a reference by its name in the store, by that of a published one, or by its file.

    What has a slash or ends in `.json` is a file. Raises UserError where there is none, or it cannot be read.
    """
    if os.sep in name or name.endswith(SUFFIX):
        path = Path(name)
        content = Folder(path.parent).read(path.name)
        if content is None:
            raise UserError(f"{path}: no such file; `mrvae-orch check --list` shows the references that have names")
    else:
        _check_name(name)
        path = _references(store).path / (name + SUFFIX)
        content = _references(store).read(path.name)
        if content is None and name in packaged_names():
            return read_packaged(name)
        if content is None:
            raise UserError(f"no reference {name!r} in the store {store.root}; {hint(name, reference_names(store))}")
    try:
        return from_bytes(content, str(path))
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
) -> tuple[Reference, Path]:
    """Write a sweep as a reference, into the store or elsewhere, and return it with its file.

    Raises UserError where the name is taken, or the sweep is not done.
    """
    from evaluation.references.recording import recorded

    _check_name(name)
    if name in packaged_names():
        raise UserError(f"{name!r} is the name of a published reference; choose another")
    path = out or _references(store).path / (name + SUFFIX)
    if path.exists() and not replace:
        raise UserError(f"{path} is there already; choose another name, or replace it with --replace")
    try:
        reference = recorded(sweep_record(store, sweep), name, tolerance=tolerance, now=now)
    except ValueError as error:
        raise UserError(f"{sweep.name} cannot be recorded: {error}") from error
    write_file(path, reference.to_bytes())
    return reference, path


def print_references(store: Store, console: Console) -> None:
    """Print every reference there is; one that cannot be read says why."""
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
    """Yield a line a curve: its mean distortion, how its seeds spread, and what as many seeds again could tell."""
    from evaluation.curves import common_means
    from evaluation.gates import distance

    for curve in reference.curves:
        common = common_means([seed.points for seed in curve.seeds])
        if common.interval is None:
            yield f"{curve.name}: {common.reason}"
            continue
        mean, seeds = statistics.fmean(common.means), len(common.means)
        rates = " to ".join(f"{end:.4g}" for end in common.interval)
        line = f"{curve.name}: mean distortion {mean:.4g} over rates {rates} nats"
        told = distance(common.means, common.means).half_width
        if told is None:
            yield f"{line}, one seed: nothing is known of its spread, and a check takes two or more"
            continue
        yield (
            f"{line}, standard deviation {statistics.stdev(common.means):.2g} of {seeds} seeds; "
            f"a sweep of as many is known to ±{told:.2g}"
        )


def sweep_record(store: Store, sweep: Sweep) -> SweepRecord:
    """Return a sweep's trials and their curves, from what the store holds."""
    from orchestrator.ledger import read_ledger
    from orchestrator.results import gather

    return gather(store, sweep, read_ledger(store, sweep.plan.trials, sweep.name), {})


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises UserError where it cannot be written."""
    try:
        Folder(path.parent).write(path.name, content)
    except StoreError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        raise UserError(f"{path} cannot be written: {reason}") from error


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
    return Folder(store.root / "references")


def _check_name(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from error
