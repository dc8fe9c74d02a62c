from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import json_option, store_option, sweep_argument
from orchestrator.terminal import console, echo_json

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("watch")
@sweep_argument()
@store_option
@click.option("--once", is_flag=True, help="Print the current state and exit.")
@json_option
@click.pass_context
def command(context: click.Context, sweep_name: str, store: Store, *, once: bool, as_json: bool) -> None:
    """Follow a sweep that runs elsewhere, from its store alone: trials, nodes, devices, throughput, time left, cost.

    Exits when the sweep's driver has ended. Exit codes: 0 all trials are done; 1 some are not.

    \b
    mrvae-orch watch quickstart --store /mnt/runs
    mrvae-orch watch quickstart --json | jq .counts
    """
    from orchestrator.monitoring.watch import Watch, rendered, watch

    if as_json:
        echo_json(Watch(store, sweep_name).snapshot().to_json())
    elif once:
        console().print(rendered(Watch(store, sweep_name).snapshot()))
    else:
        context.exit(watch(store, sweep_name, console()))
