from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import console, json_option, store_option, sweep_argument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.ledger import TrialStatus
    from orchestrator.spending import Spending
    from orchestrator.sweeps import Sweep
    from workers.store import Store

SHOWN_TRIALS = 40
MOST_COSTS_READ = 2000
"""The costs of a trial are a file of their own; of more trials they take longer to read than one likes to wait."""


@click.command("status")
@sweep_argument(required=False)
@store_option
@json_option
def command(sweep_name: str | None, store: Store, as_json: bool) -> None:
    """Show what is done, running, failed and left, and what it has cost: of one sweep, or of every sweep in the store.

    \b
    mrvae-orch status
    mrvae-orch status quickstart --json | jq .counts
    """
    if sweep_name is None:
        _show_all(store, as_json=as_json)
        return
    from orchestrator.ledger import read_ledger
    from orchestrator.sweeps import load_sweep

    sweep = load_sweep(store, sweep_name)
    ledger = read_ledger(store, sweep.plan.trials, sweep.name)
    spent = _spending(store, sweep, ledger)
    if as_json:
        click.echo(json.dumps(_as_json(sweep, ledger, spent), indent=1, ensure_ascii=False))
    else:
        _show_one(sweep, ledger, spent)


def _show_all(store: Store, *, as_json: bool) -> None:
    from orchestrator.errors import UserError
    from orchestrator.ledger import count_states, read_ledger
    from orchestrator.sweeps import load_sweep

    counts = {}
    for name in store.sweep_names():
        try:
            sweep = load_sweep(store, name)
        except UserError as error:
            # One that this release or its plug-ins no longer know hides no other.
            click.echo(f"{name}: {error}", err=True)
            continue
        counts[name] = count_states(read_ledger(store, sweep.plan.trials, name).values())
    if as_json:
        click.echo(
            json.dumps({"sweeps": [{"sweep": name, "counts": entry} for name, entry in counts.items()]}, indent=1)
        )
        return
    if not counts:
        click.echo(f"No sweep was submitted to the store {store} yet.")
    for name, entry in counts.items():
        click.echo(f"{name}: {', '.join(f'{count:,} {state}' for state, count in entry.items())}")


def _spending(store: Store, sweep: Sweep, ledger: Mapping[str, TrialStatus]) -> Mapping[str, Spending]:
    """Return what each trial has cost; nothing for a sweep of very many trials."""
    from orchestrator.observations import spending_of

    if len(sweep.plan.trials) > MOST_COSTS_READ:
        return {}
    return {each.trial_id: spending_of(store, ledger[each.trial_id]) for each in sweep.plan.trials}


def _show_one(sweep: Sweep, ledger: Mapping[str, TrialStatus], spent: Mapping[str, Spending]) -> None:
    from orchestrator.ledger import count_states
    from orchestrator.progress import describe
    from orchestrator.spending import describe_total

    out = console()
    counts = count_states(ledger.values())
    out.print(f"{sweep.name}: {', '.join(f'{count:,} {state}' for state, count in counts.items())}")
    if total := describe_total(spent.values()):
        out.print(total, soft_wrap=True)
    if not spent:
        out.print(f"What more than {MOST_COSTS_READ:,} trials have cost is in the report's costs.csv.")
    table = Table(box=None, header_style="bold")
    for column in ("trial", "state", "epoch", "attempts", "device time", ""):
        table.add_column(column)
    # What is not done comes first: it is what one looks for.
    rows = sorted(sweep.plan.trials, key=lambda planned: ledger[planned.trial_id].state == "done")
    for planned in rows[:SHOWN_TRIALS]:
        status = ledger[planned.trial_id]
        attempts, device_time = _costs_shown(status, spent.get(planned.trial_id))
        epoch = f"{status.epoch:.1f}/{status.epochs}"
        table.add_row(describe(planned), status.state, epoch, attempts, device_time, status.message)
    out.print(table)
    if len(rows) > SHOWN_TRIALS:
        out.print(f"… and {len(rows) - SHOWN_TRIALS:,} more; --json lists all")


def _costs_shown(status: TrialStatus, spent: Spending | None) -> tuple[str, str]:
    """Return a trial's attempts, with what became of those that came to no end, and what all of them took."""
    from orchestrator.progress import duration

    if spent is None or not spent.attempts:
        return str(status.attempts), ""
    parts = []
    for on_gpu, used in spent.used.items():
        lost = f", {duration(spent.lost[on_gpu])} lost" if spent.lost[on_gpu] else ""
        parts += [f"{duration(used)} {'GPU' if on_gpu else 'CPU'}{lost}"] if used else []
    return spent.describe_attempts(), " + ".join(parts)


def _as_json(sweep: Sweep, ledger: Mapping[str, TrialStatus], spent: Mapping[str, Spending]) -> dict[str, object]:
    from orchestrator.ledger import count_states

    trials = []
    for planned in sweep.plan.trials:
        status = ledger[planned.trial_id]
        costs = spent.get(planned.trial_id)
        trials.append(
            {
                "trial_id": planned.trial_id,
                "method": planned.trial.method.kind,
                "betas": list(planned.trial.method.trained_betas),
                "seed": planned.trial.seed,
                "state": status.state,
                "message": status.message,
                "attempts": status.attempts,
                "epoch": status.epoch,
                "epochs": status.epochs,
                "elbo": status.elbo,
                "costs": [asdict(attempt) for attempt in costs.attempts] if costs else None,
                "lost_device_seconds": {"GPU": costs.lost[True], "CPU": costs.lost[False]} if costs else None,
            }
        )
    total = _total_as_json(spent.values()) if spent else None
    return {"sweep": sweep.name, "counts": count_states(ledger.values()), "costs": total, "trials": trials}


def _total_as_json(spent: Collection[Spending]) -> dict[str, object]:
    outcomes = Counter(attempt.outcome for each in spent for attempt in each.attempts)
    return {
        "attempts": outcomes.total(),
        "outcomes": dict(sorted(outcomes.items())),
        "device_hours": {
            name: {
                "used": sum(each.used[on_gpu] for each in spent) / 3600,
                "lost": sum(each.lost[on_gpu] for each in spent) / 3600,
            }
            for name, on_gpu in (("GPU", True), ("CPU", False))
        },
    }
