from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    checkpoint_option,
    code_option,
    console,
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
)

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store import Store


@click.command("submit")
@spec_argument
@store_option
@data_option
@tracking_option
@scale_option
@set_option
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@click.option("--retry-failed", is_flag=True, help="Try failed trials anew.")
@checkpoint_option
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
    checkpoint_every: float,
    address: str | None,
    stay: bool,
    code: bool,
    connect: bool,
) -> None:
    """Train what is left of a sweep on this machine's Ray, or on a cluster's, and report on it.

    Nothing that is done is done again: the same command goes on where it was interrupted, and a spec with more β,
    seeds or metrics runs only what is new. Exit codes: 0 all done; 1 some trials failed; 2 the spec, the data or
    the store cannot be used; 3 the cluster cannot be reached; 130 interrupted, after running trials have
    checkpointed.

    With --address the sweep is sent to a cluster, and the command returns at once. The store, and the folder of
    --data if it is given, are then places that the cluster's machines reach. A sweep that runs there is joined.

    \b
    mrvae-orch submit recipes/quickstart.yaml
    mrvae-orch submit my.yaml --scale smoke
    mrvae-orch submit my.yaml --store /mnt/runs --set training.epochs=20 --set seeds=[0,1,2]
    mrvae-orch submit my.yaml --store /mnt/runs --address http://head:8265
    """
    from orchestrator.spec_file import read_spec

    spec = read_spec(spec_path, overrides, scale)
    if dry_run:
        from orchestrator.cli.plan import show_plan

        show_plan(spec, store, console())
        return
    print_scale(spec, console())
    if address is not None:
        context.exit(send_to_cluster(context, spec, retry_failed=retry_failed, retry_joined=retry_failed))
    if stay or code:
        raise click.UsageError("--follow and --code are of a cluster; add --address")
    from orchestrator.submission import SubmitOptions

    options = SubmitOptions(
        data_root=data_root,
        tracking_uri=tracking_uri,
        retry_failed=retry_failed,
        checkpoint_seconds=checkpoint_every,
    )
    context.exit(run_here(spec, store, options, connect=connect))
