from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import store_option, sweep_argument, tracking_option

if TYPE_CHECKING:
    from workers.store import Store


@click.command("sync")
@sweep_argument(required=False)
@store_option
@tracking_option
@click.option("--follow", is_flag=True, hidden=True, help="Go on until standard input closes.")
@click.pass_context
def command(
    context: click.Context, sweep_name: str | None, store: Store, tracking_uri: str | None, follow: bool
) -> None:
    """Forward to MLflow what it does not have yet, of one sweep or of all in the store.

    A submit does this beside the training. Where MLflow could not be reached, the metrics wait in the store, and
    this sends them, each once and with its own time. Exit codes: 0 all is there; 1 MLflow cannot be reached.

    \b
    mrvae-orch sync
    mrvae-orch sync quickstart --tracking-uri http://mlflow.lab:5000
    """
    from orchestrator.forwarding import follow_sweep, forward_sweeps

    if follow and sweep_name is not None:
        context.exit(follow_sweep(store, sweep_name, tracking_uri))
    names = [sweep_name] if sweep_name is not None else store.sweep_names()
    context.exit(forward_sweeps(store, names, tracking_uri))
