from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    checkpoint_option,
    code_option,
    data_option,
    follow_option,
    print_scale,
    run_here,
    scale_option,
    send_to_cluster,
    set_option,
    spec_argument,
    store_option,
    tracking_option,
    verbose_option,
)
from orchestrator.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store.store import Store


@click.command("submit")
@spec_argument
@store_option
@data_option
@tracking_option
@scale_option
@set_option
@click.option("--dry-run", is_flag=True, help="Show what would run; run nothing.")
@click.option("--retry-failed", is_flag=True, help="Retry failed trials and metrics.")
@click.option(
    "--retrain",
    is_flag=True,
    help="Train again what this release cannot use, or what was trained on other data; the sweep's results stay under "
    "another name.",
)
@checkpoint_option
@verbose_option
@address_option
@follow_option
@code_option
@click.option("--connect", is_flag=True, hidden=True, help="Run on the cluster whose job this process is.")
@click.pass_context
def command(
    context: click.Context,
    *,
    spec_path: Path,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    scale: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    retry_failed: bool,
    retrain: bool,
    checkpoint_every: float,
    verbose: bool,
    address: str | None,
    stay: bool,
    code: bool,
    connect: bool,
) -> None:
    """Train the unfinished trials of a sweep on this machine or on a Ray cluster, then write the report.

    Finished trials are not repeated. To resume after an interruption, run the same command again; a spec with more β
    values, seeds or metrics runs only the new ones. Exit codes: 0 all trials are done; 1 some trials or metrics
    failed; 2 the spec, the data or the store cannot be used; 3 the cluster cannot be reached; 130 interrupted, after
    running trials saved checkpoints.

    With --address the sweep runs on a cluster, and the command returns at once. --store and --data are then paths that
    the cluster's machines can reach. If the sweep is already running there, the command joins it.

    \b
    mrvae-orch submit recipes/quickstart.yaml
    mrvae-orch submit my.yaml --scale smoke
    mrvae-orch submit my.yaml --store /mnt/runs --set training.epochs=20 --set seeds=[0,1,2]
    mrvae-orch submit my.yaml --store /mnt/runs --address http://head:8265
    """
    from orchestrator.spec.file import read_spec

    spec = read_spec(spec_path, overrides, scale)
    if dry_run:
        from orchestrator.cli.plan import show_plan

        show_plan(spec, store, data_root, console())
        return
    print_scale(spec, console())
    if address is not None:
        repeated = {"retry_failed": retry_failed, "retrain": retrain}
        context.exit(send_to_cluster(context, spec, **repeated, retry_joined=retry_failed))
    if stay or code:
        raise click.UsageError("--follow and --code need --address")
    from orchestrator.driver.driver import SubmitOptions

    options = SubmitOptions(
        data_root=data_root,
        tracking_uri=tracking_uri,
        retry_failed=retry_failed,
        retrain=retrain,
        checkpoint_seconds=checkpoint_every,
        verbose=verbose,
    )
    context.exit(run_here(spec, store, options, connect=connect))
