from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import console, store_option, sweep_argument

if TYPE_CHECKING:
    from workers.store import Store


@click.command("report")
@sweep_argument()
@store_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write it.  [default: the sweep's folder in the store]",
)
def command(sweep_name: str, store: Store, out: Path | None) -> None:
    """Write the report of a sweep: HTML, Markdown, CSV and Parquet, from what the store holds now.

    \b
    mrvae-orch report quickstart
    mrvae-orch report quickstart --out report/
    """
    from orchestrator.ledger import read_ledger
    from orchestrator.reporting import write_sweep_report
    from orchestrator.sweeps import load_sweep

    sweep = load_sweep(store, sweep_name)
    write_sweep_report(store, sweep, read_ledger(store, sweep.plan.trials), console(), folder=out)
