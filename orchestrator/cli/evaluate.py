from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import data_option, run_here, store_option, sweep_argument, tracking_option

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store.store import Store


def _betas(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    texts = value.split(",")
    for text in texts:
        if not _is_beta(text):
            raise click.BadParameter(f"{text!r} is not a number above 0; write β values such as 0.05,0.5,5")
    return tuple(map(float, texts))


def _is_beta(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


@click.command("evaluate")
@sweep_argument()
@store_option
@data_option
@tracking_option
@click.option("--metrics", metavar="NAME,…", help="Metrics to add, such as psnr,bits_per_dimension.")
@click.option(
    "--betas", metavar="β,…", callback=_betas, help="β values at which to evaluate MR-VAEs, beside those of the spec."
)
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Split to evaluate on.")
@click.pass_context
def command(
    context: click.Context,
    sweep_name: str,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    metrics: str | None,
    betas: tuple[float, ...] | None,
    split: str | None,
) -> None:
    """Evaluate the trained models of a sweep again: at more β values, on another split, or with more metrics.

    Trains nothing; untrained trials are skipped. The request is added to the sweep's stored spec, so its reports
    include it.

    \b
    mrvae-orch evaluate quickstart --metrics psnr,bits_per_dimension
    mrvae-orch evaluate quickstart --betas 0.01,0.03,0.1,0.3,1,3,10
    """
    from orchestrator.driver.driver import SubmitOptions
    from orchestrator.spec.file import with_evaluation
    from orchestrator.sweeps.sweep import load_sweep

    spec = with_evaluation(load_sweep(store, sweep_name).plan.spec, metrics=metrics, betas=betas, split=split)
    options = SubmitOptions(data_root=data_root, tracking_uri=tracking_uri, train=False)
    context.exit(run_here(spec, store, options))
