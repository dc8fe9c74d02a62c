from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import address_option, console, json_option, store_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.jobs import ClusterJob
    from orchestrator.watching import Sight
    from workers.store import Store


@click.command("list")
@store_option
@address_option
@json_option
def command(store: Store, address: str | None, *, as_json: bool) -> None:
    """List the sweeps of a store with their drivers, and with --address the sweeps that a cluster has as jobs.

    \b
    mrvae-orch list --store /mnt/runs
    mrvae-orch list --store /mnt/runs --address http://head:8265
    """
    sights, jobs = list(_sights(store)), _jobs(address)
    if as_json:
        record = {"sweeps": [sight.to_json() for sight in sights], **({"jobs": _plain(jobs)} if address else {})}
        click.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    out = console()
    if not sights:
        out.print(f"No sweep was submitted to the store {store} yet.", soft_wrap=True)
    else:
        out.print(_sweeps_table(sights))
    if address is not None:
        out.print()
        out.print(_jobs_table(jobs) if jobs else f"No sweep was sent to {address} since it was started.")


def _sights(store: Store) -> Iterator[Sight]:
    from orchestrator.errors import UserError
    from orchestrator.watching import Watch

    for name in store.sweep_names():
        try:
            yield Watch(store, name).look()
        except UserError as error:
            # One that this release or its plug-ins no longer know hides no other.
            click.echo(f"{name}: {error}", err=True)


def _jobs(address: str | None) -> list[ClusterJob]:
    if address is None:
        return []
    from orchestrator.sending import open_cluster

    return open_cluster(address).jobs()


def _plain(jobs: list[ClusterJob]) -> list[dict[str, Any]]:
    return [
        {
            "job": job.job_id,
            "sweep": job.sweep,
            "store": job.store,
            "status": job.status.lower(),
            "started_at": job.started_at,
            "exit_code": job.exit_code,
        }
        for job in jobs
    ]


def _sweeps_table(sights: list[Sight]) -> Table:
    from orchestrator.watching import describe_driver

    table = Table(box=None, header_style="bold")
    for column in ("sweep", "trials", "driver"):
        table.add_column(column)
    for sight in sights:
        counts = ", ".join(f"{count:,} {state}" for state, count in sight.counts.items())
        table.add_row(sight.name, counts, Text(describe_driver(sight.driver, sight.silent)))
    return table


def _jobs_table(jobs: list[ClusterJob]) -> Table:
    from orchestrator.progress import duration

    table = Table(box=None, header_style="bold")
    for column in ("job", "status", "started", "store"):
        table.add_column(column)
    for job in jobs:
        started = "" if job.started_at is None else f"{duration(max(0.0, time.time() - job.started_at))} ago"
        table.add_row(job.job_id, job.status.lower(), started, Text(job.store))
    return table
