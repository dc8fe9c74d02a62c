from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    address_option,
    complete_trial,
    console,
    place_on_cluster,
    store_option,
    sweep_argument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from orchestrator.drivers import Driver
    from orchestrator.sweeps import Sweep
    from workers.store import Store

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
    """Stop a sweep, wherever it runs, or trials of it. What runs checkpoints first; nothing that is done is lost.

    A stopped sweep goes on when it is submitted again. A cancelled trial, named by the start of its id, stays
    cancelled until `mrvae-orch retry`. With --address a driver that gives no answer is stopped as a job of its
    cluster. Exit code 1 if nobody answers.

    \b
    mrvae-orch cancel quickstart --store /mnt/runs --address http://head:8265
    mrvae-orch cancel quickstart 3fa4 91b0 --store /mnt/runs
    """
    from orchestrator.sweeps import load_sweep

    sweep = load_sweep(store, sweep_name)
    if trials:
        _cancel_trials(store, sweep, trials, console())
    elif address is not None:
        context.exit(_stop_job(store, sweep_name, address, place_on_cluster(context), console()))
    else:
        context.exit(_stop(store, sweep_name, console()))


def _cancel_trials(store: Store, sweep: Sweep, prefixes: Sequence[str], out: Console) -> None:
    from orchestrator.ledger import DONE, read_ledger
    from orchestrator.progress import describe
    from orchestrator.requests import cancel_trials
    from orchestrator.sweeps import trials_named

    named = trials_named(sweep, prefixes)
    ledger = read_ledger(store, named, sweep.name)
    cancel_trials(store, sweep.name, [each.trial_id for each in named if ledger[each.trial_id].state != DONE])
    for planned in named:
        said = "is done already" if ledger[planned.trial_id].state == DONE else "cancelled"
        out.print(f"{describe(planned)}: {said}", soft_wrap=True)


def _stop(store: Store, name: str, out: Console) -> int:
    from orchestrator.drivers import read_driver
    from orchestrator.requests import request_stop

    driver = read_driver(store, name)
    if driver is None or driver.ended:
        out.print(f"{name}: no driver runs it; there is nothing to stop")
        return 0
    request_stop(store, name)
    if _answered(lambda: _has_heard(store, name, driver)):
        out.print(f"{name}: stops, after what runs has checkpointed; `mrvae-orch watch {name}` shows when")
        return 0
    out.print(
        f"{name}: asked to stop, but its driver has not answered within {ANSWER_SECONDS:g} s: it may be gone, or cut "
        "off from the store; with --address a cluster is asked to end its job",
        soft_wrap=True,
    )
    return 1


def _stop_job(store: Store, name: str, address: str, place: str, out: Console) -> int:
    from orchestrator.drivers import read_driver
    from orchestrator.jobs import PENDING, job_family
    from orchestrator.requests import request_stop
    from orchestrator.sending import open_cluster

    cluster = open_cluster(address)
    job = cluster.running(job_family(name, place))
    if job is None:
        out.print(f"{name}: {address} has no job that runs it on {place}", soft_wrap=True)
        return 0
    job_id = job.job_id
    if job.status != PENDING:
        before = read_driver(store, name)
        request_stop(store, name)
        if _answered(lambda: _has_heard(store, name, before) or cluster.has_ended(job_id)):
            out.print(f"{name}: stops, after what runs has checkpointed; `mrvae-orch watch {name}` shows when")
            return 0
    cluster.stop(job_id)
    out.print(f"{name}: job {job_id} was told to end by its cluster", soft_wrap=True)
    return 0


def _has_heard(store: Store, name: str, before: Driver | None) -> bool:
    """Whether a driver has written since that it stops or has ended: what an earlier one left is no answer."""
    from orchestrator.drivers import STOPPING, read_driver

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
