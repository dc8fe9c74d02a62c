from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import address_option, complete_trial, place_on_cluster, store_option, sweep_argument
from orchestrator.terminal import echo

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("logs")
@sweep_argument()
@click.argument("trial", required=False, shell_complete=complete_trial)
@store_option
@address_option
@click.option("--follow", "stay", is_flag=True, help="Print new lines until it ends.")
@click.pass_context
def command(
    context: click.Context, *, sweep_name: str, trial: str | None, store: Store, address: str | None, stay: bool
) -> None:
    """Print the log of a sweep's last driver, or of all attempts at one of its trials; TRIAL is the start of an id.

    Logs are read from the store. With --address the output of the sweep's last job is read from the cluster.

    \b
    mrvae-orch logs quickstart --store /mnt/runs --follow
    mrvae-orch logs quickstart 3fa4
    """
    from orchestrator.monitoring.logs import driver_log, follow_log, trial_log

    if address is not None and trial is None:
        _print_job(sweep_name, address, place_on_cluster(context), stay=stay)
        return
    log = driver_log(store, sweep_name) if trial is None else trial_log(store, sweep_name, trial)
    if stay:
        follow_log(log, _write)
    else:
        _write(log.read())


def _print_job(name: str, address: str, place: str, *, stay: bool) -> None:
    from orchestrator.remote.cluster import job_family
    from orchestrator.remote.jobs import follow
    from orchestrator.remote.submit import open_cluster

    cluster = open_cluster(address)
    jobs = cluster.jobs(job_family(name, place))
    if not jobs:
        raise click.ClickException(f"{address} has no job for sweep {name!r} with store {place}; see mrvae-orch list")
    if stay:
        follow(cluster, jobs[-1].job_id, _write)
    else:
        _write(cluster.log(jobs[-1].job_id))


def _write(text: str) -> None:
    echo(text, end="")
