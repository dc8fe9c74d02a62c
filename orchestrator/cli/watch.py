from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import console, json_option, store_option, sweep_argument

if TYPE_CHECKING:
    from workers.store import Store


@click.command("watch")
@sweep_argument()
@store_option
@click.option("--once", is_flag=True, help="Look once, and end.")
@json_option
@click.pass_context
def command(context: click.Context, sweep_name: str, store: Store, *, once: bool, as_json: bool) -> None:
    """Follow a sweep that runs elsewhere, from its store alone: trials, nodes, devices, throughput, time left, cost.

    Ends when the sweep's driver has. Exit codes: 0 all done; 1 something is not.

    \b
    mrvae-orch watch quickstart --store /mnt/runs
    mrvae-orch watch quickstart --json | jq .counts
    """
    from orchestrator.watching import Watch, rendered, watch

    if as_json:
        click.echo(json.dumps(Watch(store, sweep_name).look().to_json(), indent=1, ensure_ascii=False))
    elif once:
        console().print(rendered(Watch(store, sweep_name).look()))
    else:
        context.exit(watch(store, sweep_name, console()))
