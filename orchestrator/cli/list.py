from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import address_option, json_option, store_option
from orchestrator.terminal import console, echo, echo_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from orchestrator.monitoring.watch import SweepSnapshot
    from orchestrator.remote.cluster import ClusterJob
    from workers.store.store import Store


@click.command("list")
@store_option
@address_option
@json_option
def command(store: Store, address: str | None, *, as_json: bool) -> None:
    """List the sweeps of a store with their drivers; with --address also the sweeps that a cluster runs.

    \b
    mrvae-orch list --store /mnt/runs
    mrvae-orch list --store /mnt/runs --address http://head:8265
    """
    snapshots, jobs = list(_snapshots(store)), _jobs(address)
    if as_json:
        record = {"sweeps": [snapshot.to_json() for snapshot in snapshots]}
        if address:
            record["jobs"] = [job.to_json() for job in jobs]
        echo_json(record)
        return
    out = console()
    if not snapshots:
        out.print(f"No sweep has been submitted to the store {store} yet.", soft_wrap=True)
    else:
        out.print(_sweeps_table(snapshots))
    if address is not None:
        out.print()
        out.print(_jobs_table(jobs) if jobs else f"No sweep has been submitted to {address} since it started.")


def _snapshots(store: Store) -> Iterator[SweepSnapshot]:
    from orchestrator.errors import UserError
    from orchestrator.monitoring.watch import overview

    for name in store.sweep_names():
        try:
            yield overview(store, name)
        except UserError as error:
            # A sweep that this release or its plug-ins cannot read must not hide the others.
            echo(f"{name}: {error}", err=True)


def _jobs(address: str | None) -> list[ClusterJob]:
    if address is None:
        return []
    from orchestrator.remote.submit import open_cluster

    return open_cluster(address).jobs()


def _sweeps_table(snapshots: list[SweepSnapshot]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.monitoring.watch import describe_driver

    table = Table(box=None, header_style="bold")
    for column in ("sweep", "trials", "driver"):
        table.add_column(column)
    for snapshot in snapshots:
        counts = ", ".join(f"{count:,} {state}" for state, count in snapshot.counts.items())
        table.add_row(snapshot.name, counts, Text(describe_driver(snapshot.driver, snapshot.silent_seconds)))
    return table


def _jobs_table(jobs: list[ClusterJob]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from evaluation.report.formatting import duration

    table = Table(box=None, header_style="bold")
    for column in ("job", "status", "started", "store"):
        table.add_column(column)
    for job in jobs:
        started = "" if job.started_at is None else f"{duration(max(0.0, time.time() - job.started_at))} ago"
        table.add_row(job.job_id, job.status.lower(), started, Text(job.store))
    return table
