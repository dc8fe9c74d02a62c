from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import console, json_option, set_option, spec_argument, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from orchestrator.estimate import Estimate
    from orchestrator.ledger import TrialStatus
    from orchestrator.plan import Plan
    from orchestrator.spec import SweepSpec
    from workers.store import Store

SHOWN_TRIALS = 40


@click.command("plan")
@spec_argument
@store_option
@set_option
@json_option
def command(spec_path: Path, store: Store, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the trials of a spec: their ids, which are done already, and what the rest would cost. Runs nothing.

    \b
    mrvae-orch plan recipes/quickstart.yaml
    mrvae-orch plan recipes/quickstart.yaml --json | jq '.trials[].trial_id'
    """
    from orchestrator.spec_file import read_spec

    spec = read_spec(spec_path, overrides)
    if as_json:
        click.echo(json.dumps(_as_json(*_examine(spec, store)), indent=1, ensure_ascii=False))
    else:
        show_plan(spec, store, console())


def show_plan(spec: SweepSpec, store: Store, out: Console) -> None:
    """Print the plan of a spec as a table."""
    planned, ledger, estimates = _examine(spec, store)
    table = Table(box=None, header_style="bold")
    for column, justify in (
        ("trial", "left"),
        ("curve", "left"),
        ("β", "left"),
        ("seed", "right"),
        ("state", "left"),
        ("device time", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich wants the literal
    from orchestrator.progress import duration

    for item in planned.trials[:SHOWN_TRIALS]:
        betas = " to ".join(f"{beta:.4g}" for beta in item.trial.method.trained_betas)
        status = ledger[item.trial_id]
        expected = "" if status.finished else duration(estimates[item.trial_id].device_seconds)
        table.add_row(item.trial_id[:12], item.series, betas, str(item.trial.seed), status.state, expected)
    out.print(table)
    if len(planned.trials) > SHOWN_TRIALS:
        out.print(f"… and {len(planned.trials) - SHOWN_TRIALS:,} more; --json lists all")
    out.print(_total(planned, ledger, estimates), soft_wrap=True)


def _examine(spec: SweepSpec, store: Store) -> tuple[Plan, Mapping[str, TrialStatus], Mapping[str, Estimate]]:
    from orchestrator.ledger import read_ledger
    from orchestrator.observations import estimate_trials
    from orchestrator.plan import plan

    planned = plan(spec)
    ledger = read_ledger(store, planned.trials)
    return planned, ledger, estimate_trials(store, planned.trials, ledger)


def _total(planned: Plan, ledger: Mapping[str, TrialStatus], estimates: Mapping[str, Estimate]) -> str:
    from orchestrator.ledger import count_states
    from orchestrator.progress import duration

    left = [item.trial_id for item in planned.trials if not ledger[item.trial_id].finished]
    counts = ", ".join(f"{count:,} {state}" for state, count in count_states(ledger.values()).items())
    line = f"{len(planned.trials):,} trials: {counts}."
    if not left:
        return f"{line} Nothing to run."
    sources = sorted({estimates[trial_id].source for trial_id in left})
    seconds = sum(estimates[trial_id].device_seconds for trial_id in left)
    return f"{line} About {duration(seconds)} of device time to go ({'; '.join(sources)})."


def _as_json(planned: Plan, ledger: Mapping[str, TrialStatus], estimates: Mapping[str, Estimate]) -> dict[str, object]:
    trials = []
    for item in planned.trials:
        identity = item.trial.to_json()
        trials.append(
            {
                "trial_id": item.trial_id,
                "method": item.trial.method.kind,
                "betas": list(item.trial.method.trained_betas),
                "seed": item.trial.seed,
                "curve": item.series,
                "parameters": {key: value for key, value in identity.items() if key != "seed"},
                "eval_id": item.evaluation.eval_id,
                "evaluated_betas": list(item.evaluation.betas),
                "state": ledger[item.trial_id].state,
                "device_seconds": estimates[item.trial_id].device_seconds,
                "estimate": estimates[item.trial_id].source,
            }
        )
    return {"sweep": planned.name, "trials": trials}
