from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    complete_trial,
    place_on_cluster,
    store_option,
    sweep_argument,
)
from orchestrator.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from orchestrator.monitoring.driver_status import DriverStatus
    from orchestrator.sweeps.sweep import Sweep
    from workers.store.store import Store

ANSWER_SECONDS, LOOK_SECONDS = 30.0, 0.5


@click.command("cancel")
@sweep_argument()
@click.argument("trials", metavar="[TRIAL]...", nargs=-1, shell_complete=complete_trial)
@store_option
@address_option
@click.pass_context
def command(
    context: click.Context, sweep_name: str, trials: tuple[str, ...], store: Store, address: str | None
) -> None:
    """Stop a sweep, wherever it runs, or some of its trials. Running trials save a checkpoint first.

    A stopped sweep resumes when it is submitted again. A cancelled trial, named by the start of its id, stays
    cancelled until `mrvae-orch retry`. With --address, the cluster stops the job of a driver that does not respond.
    Exit code 1 if there is no response.

    \b
    mrvae-orch cancel quickstart --store /mnt/runs --address http://head:8265
    mrvae-orch cancel quickstart 3fa4 91b0 --store /mnt/runs
    """
    from orchestrator.sweeps.sweep import load_sweep

    sweep = load_sweep(store, sweep_name)
    if trials:
        _cancel_trials(store, sweep, trials, console())
    elif address is not None:
        context.exit(_stop_job(store, sweep_name, address, place_on_cluster(context), console()))
    else:
        context.exit(_stop(store, sweep_name, console()))


def _cancel_trials(store: Store, sweep: Sweep, prefixes: Sequence[str], out: Console) -> None:
    from orchestrator.planning.labels import describe
    from orchestrator.sweeps.control_files import cancel_trials
    from orchestrator.sweeps.status import read_statuses
    from orchestrator.sweeps.sweep import trials_named
    from workers.outcome import TrialState

    named = trials_named(sweep, prefixes)
    statuses = read_statuses(store, named, sweep.name)
    cancel_trials(
        store, sweep.name, [each.trial_id for each in named if statuses[each.trial_id].state != TrialState.DONE]
    )
    for planned in named:
        said = "is done already" if statuses[planned.trial_id].state == TrialState.DONE else "cancelled"
        out.print(f"{describe(planned)}: {said}", soft_wrap=True)


def _stop(store: Store, name: str, out: Console) -> int:
    from orchestrator.monitoring.driver_status import read_driver
    from orchestrator.sweeps.control_files import request_stop

    driver = read_driver(store, name)
    if driver is None or driver.ended:
        out.print(f"{name}: no driver is running; nothing to stop")
        return 0
    request_stop(store, name)
    if _answered(lambda: _has_heard(store, name, driver)):
        out.print(f"{name}: stopping once running trials have saved checkpoints; see `mrvae-orch watch {name}`")
        return 0
    out.print(
        f"{name}: asked to stop, but its driver did not respond in {ANSWER_SECONDS:g} s: it may be dead or unable to "
        "reach the store; with --address the cluster stops its job",
        soft_wrap=True,
    )
    return 1


def _stop_job(store: Store, name: str, address: str, place: str, out: Console) -> int:
    from orchestrator.monitoring.driver_status import read_driver
    from orchestrator.remote.cluster import PENDING, job_family
    from orchestrator.remote.submit import open_cluster
    from orchestrator.sweeps.control_files import request_stop

    cluster = open_cluster(address)
    job = cluster.running(job_family(name, place))
    if job is None:
        out.print(f"{name}: {address} has no job for it with store {place}", soft_wrap=True)
        return 0
    job_id = job.job_id
    if job.status != PENDING:
        before = read_driver(store, name)
        request_stop(store, name)
        if _answered(lambda: _has_heard(store, name, before) or cluster.has_ended(job_id)):
            out.print(f"{name}: stopping once running trials have saved checkpoints; see `mrvae-orch watch {name}`")
            return 0
    cluster.stop(job_id)
    out.print(f"{name}: its cluster was asked to stop job {job_id}", soft_wrap=True)
    return 0


def _has_heard(store: Store, name: str, before: DriverStatus | None) -> bool:
    """Whether a driver has since written that it is stopping or has ended; an earlier driver's file does not count."""
    from orchestrator.monitoring.driver_status import STOPPING, read_driver

    driver = read_driver(store, name)
    if driver is None or (before is not None and driver.at == before.at):
        return False
    return driver.ended or driver.state == STOPPING


def _answered(has_heard: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if has_heard():
            return True
        time.sleep(LOOK_SECONDS)
    return False
