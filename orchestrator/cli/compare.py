from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluation.report.formats import SEVERAL_FORMATS, SEVERAL_USUAL
from orchestrator.cli.options import complete_sweep, console, store_option
from orchestrator.cli.report import format_option

if TYPE_CHECKING:
    from workers.store import Store


@click.command("compare")
@click.argument("sweep_names", metavar="SWEEP SWEEP…", nargs=-1, required=True, shell_complete=complete_sweep)
@store_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write it.  [default: comparisons/ in the store]",
)
@format_option(SEVERAL_FORMATS, SEVERAL_USUAL)
def command(sweep_names: tuple[str, ...], store: Store, out: Path | None, formats: tuple[str, ...]) -> None:
    """Compare sweeps of several datasets or architectures: an MR-VAE against β-VAEs on each of them and on all.

    \b
    mrvae-orch compare mnist-conv mnist-resnet
    mrvae-orch compare mnist-conv celeba64-conv --out paper/ --format pdf,latex
    """
    from orchestrator.comparing import compare_named

    compare_named(store, sweep_names, console(), folder=out, formats=formats)
