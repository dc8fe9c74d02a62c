from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import console, json_option, store_option, sweep_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.ledger import TrialStatus
    from orchestrator.sweeps import Sweep
    from workers.store import Store

SHOWN_TRIALS = 40


@click.command("status")
@sweep_argument(required=False)
@store_option
@json_option
def command(sweep_name: str | None, store: Store, as_json: bool) -> None:
    """Show what is done, running, failed and left: of one sweep, or of every sweep in the store.

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
    if as_json:
        click.echo(json.dumps(_as_json(sweep, ledger), indent=1, ensure_ascii=False))
    else:
        _show_one(sweep, ledger)


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
        click.echo(f"No sweep was submitted to the store {store.root} yet.")
    for name, entry in counts.items():
        click.echo(f"{name}: {', '.join(f'{count:,} {state}' for state, count in entry.items())}")


def _show_one(sweep: Sweep, ledger: Mapping[str, TrialStatus]) -> None:
    from orchestrator.ledger import count_states
    from orchestrator.progress import describe

    out = console()
    counts = count_states(ledger.values())
    out.print(f"{sweep.name}: {', '.join(f'{count:,} {state}' for state, count in counts.items())}")
    table = Table(box=None, header_style="bold")
    for column in ("trial", "state", "epoch", "attempts", ""):
        table.add_column(column)
    # What is not done comes first: it is what one looks for.
    rows = sorted(sweep.plan.trials, key=lambda planned: ledger[planned.trial_id].state == "done")
    for planned in rows[:SHOWN_TRIALS]:
        status = ledger[planned.trial_id]
        table.add_row(
            describe(planned), status.state, f"{status.epoch:.1f}/{status.epochs}", str(status.attempts), status.message
        )
    out.print(table)
    if len(rows) > SHOWN_TRIALS:
        out.print(f"… and {len(rows) - SHOWN_TRIALS:,} more; --json lists all")


def _as_json(sweep: Sweep, ledger: Mapping[str, TrialStatus]) -> dict[str, object]:
    from orchestrator.ledger import count_states

    trials = []
    for planned in sweep.plan.trials:
        status = ledger[planned.trial_id]
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
            }
        )
    return {"sweep": sweep.name, "counts": count_states(ledger.values()), "trials": trials}
