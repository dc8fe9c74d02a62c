from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import json_option, rest_idle_threads, store_option, sweep_argument
from orchestrator.terminal import console, echo, echo_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from orchestrator.costs.spending import Spending
    from orchestrator.costs.sweep_status import SweepStatus
    from orchestrator.sweeps.status import TrialStatus
    from workers.store.store import Store

SHOWN_TRIALS = 40


@click.command("status")
@sweep_argument(required=False)
@store_option
@json_option
def command(sweep_name: str | None, store: Store, as_json: bool) -> None:
    """Show the states and costs of a sweep's trials; without SWEEP the counts of every sweep.

    \b
    mrvae-orch status
    mrvae-orch status quickstart --json | jq .counts
    """
    if sweep_name is None:
        _show_all(store, as_json=as_json)
        return
    from orchestrator.costs.sweep_status import read_sweep_status

    rest_idle_threads()
    status = read_sweep_status(store, sweep_name)
    if as_json:
        echo_json(status.to_json())
    else:
        _show_one(status)


def _show_all(store: Store, *, as_json: bool) -> None:
    from orchestrator.errors import UserError
    from orchestrator.sweeps.sweep import count_trials

    counts = {}
    for name in store.sweep_names():
        try:
            counts[name] = count_trials(store, name)
        except UserError as error:
            # A sweep that this release or its plug-ins cannot read must not hide the others.
            echo(f"{name}: {error}", err=True)
    if as_json:
        echo_json({"sweeps": [{"sweep": name, "counts": entry} for name, entry in counts.items()]})
        return
    if not counts:
        echo(f"No sweep has been submitted to the store {store} yet.")
    for name, entry in counts.items():
        echo(f"{name}: {_counts(entry)}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _show_one(status: SweepStatus) -> None:
    from orchestrator.costs.spending import describe_total
    from orchestrator.costs.sweep_status import MOST_COSTS_READ
    from orchestrator.sweeps.status import failed_metrics_note

    out = console()
    out.print(f"{status.sweep.name}: {_counts(status.counts)}")
    if total := describe_total(status.spending.values()):
        out.print(total, soft_wrap=True)
    if not status.spending:
        out.print(f"Costs of sweeps with more than {MOST_COSTS_READ:,} trials are only in the report's costs.csv.")
    out.print(_table(status))
    if len(status.statuses) > SHOWN_TRIALS:
        out.print(f"… and {len(status.statuses) - SHOWN_TRIALS:,} more; --json lists all")
    if note := failed_metrics_note(status.sweep.name, status.statuses.values()):
        out.print(note, soft_wrap=True)


def _table(status: SweepStatus) -> Table:
    from rich.table import Table

    from orchestrator.planning.labels import describe

    table = Table(box=None, header_style="bold")
    for column in ("trial", "state", "epoch", "attempts", "device time", ""):
        table.add_column(column)
    # Unfinished trials come first: people look for those.
    rows = sorted(status.sweep.plan.trials, key=lambda planned: status.statuses[planned.trial_id].complete)
    for planned in rows[:SHOWN_TRIALS]:
        trial = status.statuses[planned.trial_id]
        attempts, device_time = _costs_shown(trial, status.spending.get(planned.trial_id))
        epoch = f"{trial.epoch:.1f}/{trial.epochs}"
        table.add_row(describe(planned), trial.state, epoch, attempts, device_time, trial.message)
    return table


def _costs_shown(status: TrialStatus, spent: Spending | None) -> tuple[str, str]:
    """Return a trial's attempts, with the outcomes of those that did not finish, and the device time of all."""
    from evaluation.report.formatting import duration

    if spent is None or not spent.attempts:
        return str(status.attempts), ""
    parts = []
    for on_gpu, used in spent.used.items():
        lost = f", {duration(spent.lost[on_gpu])} lost" if spent.lost[on_gpu] else ""
        parts += [f"{duration(used)} {'GPU' if on_gpu else 'CPU'}{lost}"] if used else []
    return spent.describe_attempts(), " + ".join(parts)
