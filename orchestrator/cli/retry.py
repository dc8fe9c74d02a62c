from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    checkpoint_option,
    code_option,
    complete_trial,
    console,
    data_option,
    follow_option,
    run_here,
    send_to_cluster,
    store_option,
    sweep_argument,
    tracking_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store import Store


@click.command("retry")
@sweep_argument()
@click.argument("trials", metavar="[TRIAL]...", nargs=-1, shell_complete=complete_trial)
@click.option("--failed", is_flag=True, help="All that failed or was cancelled.")
@store_option
@data_option
@tracking_option
@checkpoint_option
@address_option
@follow_option
@code_option
@click.pass_context
def command(
    context: click.Context,
    *,
    sweep_name: str,
    trials: tuple[str, ...],
    failed: bool,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    checkpoint_every: float,
    address: str | None,
    stay: bool,
    code: bool,
) -> None:
    """Try anew what failed or was cancelled, with the stored spec: all of it, or trials by the start of their ids.

    Where the sweep runs, its driver takes them up; else it is run on this machine, or sent to a cluster with
    --address. Exit codes as those of `submit`.

    \b
    mrvae-orch retry quickstart --failed
    mrvae-orch retry quickstart 3fa4 --store /mnt/runs --address http://head:8265
    """
    if failed == bool(trials):
        raise click.UsageError("name the trials, or give --failed for all that failed or were cancelled")
    if address is None and (stay or code):
        raise click.UsageError("--follow and --code are of a cluster; add --address")
    from orchestrator.ledger import CANCELLED, FAILED, read_ledger
    from orchestrator.requests import forget_ends, request_retry
    from orchestrator.submission import SubmitOptions
    from orchestrator.sweeps import SweepIsRunning, load_sweep, trials_named

    sweep = load_sweep(store, sweep_name)
    named = trials_named(sweep, trials) if trials else sweep.plan.trials
    ledger = read_ledger(store, named, sweep_name)
    ended = [trial_id for trial_id, status in ledger.items() if status.state in (FAILED, CANCELLED)]
    if not ended:
        console().print("None of them failed or was cancelled." if trials else "Nothing failed or was cancelled.")
        return
    forget_ends(store, sweep_name, ended)
    spec = sweep.plan.spec
    if address is not None:
        context.exit(send_to_cluster(context, spec, retry_joined=True))
    try:
        options = SubmitOptions(data_root=data_root, tracking_uri=tracking_uri, checkpoint_seconds=checkpoint_every)
        context.exit(run_here(spec, store, options))
    except SweepIsRunning:
        request_retry(store, sweep_name)
        console().print(f"{sweep_name} is being run: its driver was asked to take up {len(ended)} trials")
