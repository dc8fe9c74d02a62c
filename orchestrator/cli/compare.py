from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluation.report.rendering.formats import SWEEP_COMPARISON_FORMATS, SWEEP_COMPARISON_USUAL
from orchestrator.cli.options import complete_sweep, store_option
from orchestrator.cli.report import format_option
from orchestrator.terminal import console

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("compare")
@click.argument("sweep_names", metavar="SWEEP SWEEP…", nargs=-1, required=True, shell_complete=complete_sweep)
@store_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Output folder.  [default: comparisons/ in the store]",
)
@format_option(SWEEP_COMPARISON_FORMATS, SWEEP_COMPARISON_USUAL)
def command(sweep_names: tuple[str, ...], store: Store, out: Path | None, formats: tuple[str, ...]) -> None:
    """Compare sweeps of several datasets or architectures: an MR-VAE with β-VAEs on each, and over all.

    \b
    mrvae-orch compare mnist-conv mnist-resnet
    mrvae-orch compare mnist-conv celeba64-conv --out paper/ --format pdf,latex
    """
    from orchestrator.reports.compare import compare_named

    compare_named(store, sweep_names, console(), folder=out, formats=formats)
