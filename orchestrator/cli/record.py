from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import store_option, sweep_argument
from orchestrator.terminal import console

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("record")
@sweep_argument()
@click.option("--as", "reference_name", metavar="NAME", required=True, help="Name of the reference.")
@click.option(
    "--tolerance",
    metavar="X",
    type=float,
    help="Largest allowed difference, in the unit of distortion.  [default: 3 % of the mean distortion]",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Output file.  [default: references/ in the store]",
)
@click.option("--replace", is_flag=True, help="Replace an existing reference or file.")
@store_option
def command(
    sweep_name: str, reference_name: str, tolerance: float | None, out: Path | None, replace: bool, store: Store
) -> None:
    """Record a finished sweep as a reference for later checks.

    \b
    mrvae-orch record quickstart --as before-the-change
    mrvae-orch check quickstart-2 --against before-the-change
    """
    from orchestrator.reports.references import describe_spread, record_sweep
    from orchestrator.sweeps.sweep import load_sweep

    sweep = load_sweep(store, sweep_name)
    reference, path = record_sweep(
        store, sweep, reference_name, out=out, tolerance=tolerance, replace=replace, now=time.time()
    )
    printed = console()
    for line in (*describe_spread(reference), *reference.caveats):
        printed.print(line, soft_wrap=True)
    printed.print(f"Tolerance: ±{reference.tolerance.difference:g} ({reference.tolerance.reason})", soft_wrap=True)
    printed.print(f"Reference: {path}", soft_wrap=True)
