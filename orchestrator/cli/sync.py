from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import store_option, sweep_argument, tracking_option

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("sync")
@sweep_argument(required=False)
@store_option
@tracking_option
@click.option("--follow", is_flag=True, hidden=True, help="Continue until standard input closes.")
@click.pass_context
def command(
    context: click.Context, sweep_name: str | None, store: Store, tracking_uri: str | None, follow: bool
) -> None:
    """Upload missing records to MLflow, for one sweep or for all sweeps in the store.

    `submit` does this during training. If MLflow could not be reached, the records are still in the store; each is
    uploaded once, with its original time. Exit codes: 0 everything is uploaded; 1 MLflow cannot be reached.

    \b
    mrvae-orch sync
    mrvae-orch sync quickstart --tracking-uri http://mlflow.lab:5000
    """
    from orchestrator.tracking.forward import follow_sweep, forward_sweeps

    if follow and sweep_name is not None:
        context.exit(follow_sweep(store, sweep_name, tracking_uri))
    names = [sweep_name] if sweep_name is not None else store.sweep_names()
    context.exit(forward_sweeps(store, names, tracking_uri))
