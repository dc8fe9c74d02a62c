from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import address_option, complete_trial, place_on_cluster, store_option, sweep_argument

if TYPE_CHECKING:
    from workers.store import Store


@click.command("logs")
@sweep_argument()
@click.argument("trial", required=False, shell_complete=complete_trial)
@store_option
@address_option
@click.option("--follow", "stay", is_flag=True, help="Stay, and print what comes until it ends.")
@click.pass_context
def command(
    context: click.Context, *, sweep_name: str, trial: str | None, store: Store, address: str | None, stay: bool
) -> None:
    """Print what a sweep's driver said, or what each attempt at one of its trials did; TRIAL is the start of an id.

    All of it is read from the store. With --address the cluster is asked for what the sweep's last job printed.

    \b
    mrvae-orch logs quickstart --store /mnt/runs --follow
    mrvae-orch logs quickstart 3fa4
    """
    from orchestrator.reading_logs import driver_text, follow_text, trial_text

    if address is not None and trial is None:
        _print_job(sweep_name, address, place_on_cluster(context), stay=stay)
        return
    text = driver_text(store, sweep_name) if trial is None else trial_text(store, sweep_name, trial)
    if stay:
        follow_text(text, _write)
    else:
        _write(text.read())


def _print_job(name: str, address: str, place: str, *, stay: bool) -> None:
    from orchestrator.jobs import follow, job_family
    from orchestrator.sending import open_cluster

    cluster = open_cluster(address)
    jobs = cluster.jobs(job_family(name, place))
    if not jobs:
        raise click.ClickException(f"{address} has no job of sweep {name!r} on {place}; see mrvae-orch list --address")
    if stay:
        follow(cluster, jobs[-1].job_id, _write)
    else:
        _write(cluster.log(jobs[-1].job_id))


def _write(text: str) -> None:
    click.echo(text, nl=False)
