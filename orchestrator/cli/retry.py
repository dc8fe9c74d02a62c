from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    checkpoint_option,
    code_option,
    complete_trial,
    data_option,
    follow_option,
    run_here,
    send_to_cluster,
    store_option,
    sweep_argument,
    tracking_option,
    verbose_option,
)
from orchestrator.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store.store import Store


@click.command("retry")
@sweep_argument()
@click.argument("trials", metavar="[TRIAL]...", nargs=-1, shell_complete=complete_trial)
@click.option("--failed", is_flag=True, help="Retry all failed and cancelled trials and metrics.")
@store_option
@data_option
@tracking_option
@checkpoint_option
@verbose_option
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
    verbose: bool,
    address: str | None,
    stay: bool,
    code: bool,
) -> None:
    """Retry failed or cancelled trials with the stored spec: those named by the start of their ids, or all (--failed).

    Finished trials that lack a metric which failed are evaluated again, without training.

    If the sweep is running, its driver retries them. Otherwise the sweep runs on this machine, or on a cluster with
    --address. Exit codes are those of `submit`.

    \b
    mrvae-orch retry quickstart --failed
    mrvae-orch retry quickstart 3fa4 --store /mnt/runs --address http://head:8265
    """
    if failed == bool(trials):
        raise click.UsageError("name the trials, or use --failed for all failed and cancelled trials")
    if address is None and (stay or code):
        raise click.UsageError("--follow and --code need --address")
    from orchestrator.driver.driver import SubmitOptions
    from orchestrator.sweeps.control_files import forget_ends, request_retry
    from orchestrator.sweeps.status import read_statuses
    from orchestrator.sweeps.sweep import SweepIsRunning, load_sweep, trials_named

    sweep = load_sweep(store, sweep_name)
    named = trials_named(sweep, trials) if trials else sweep.plan.trials
    statuses = read_statuses(store, named, sweep_name)
    ended = [planned for planned in named if statuses[planned.trial_id].can_be_retried]
    if not ended:
        console().print("None of them failed or was cancelled." if trials else "No trial failed or was cancelled.")
        return
    forget_ends(store, sweep_name, ended)
    spec = sweep.plan.spec
    if address is not None:
        context.exit(send_to_cluster(context, spec, retry_joined=True))
    try:
        options = SubmitOptions(
            data_root=data_root, tracking_uri=tracking_uri, checkpoint_seconds=checkpoint_every, verbose=verbose
        )
        context.exit(run_here(spec, store, options))
    except SweepIsRunning:
        request_retry(store, sweep_name)
        console().print(f"{sweep_name} is running; its driver was asked to retry {len(ended)} trials")
