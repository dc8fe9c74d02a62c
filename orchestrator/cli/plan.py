from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import (
    console,
    json_option,
    print_scale,
    scale_option,
    set_option,
    spec_argument,
    store_option,
)

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
@scale_option
@set_option
@json_option
def command(spec_path: Path, store: Store, scale: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the trials of a spec: their ids, which are done already, and what the rest would cost. Runs nothing.

    \b
    mrvae-orch plan recipes/quickstart.yaml
    mrvae-orch plan my.yaml --scale smoke
    mrvae-orch plan recipes/quickstart.yaml --json | jq '.trials[].trial_id'
    """
    from orchestrator.spec_file import read_spec

    spec = read_spec(spec_path, overrides, scale)
    if as_json:
        click.echo(json.dumps(_as_json(*_examine(spec, store)), indent=1, ensure_ascii=False))
    else:
        show_plan(spec, store, console())


def show_plan(spec: SweepSpec, store: Store, out: Console) -> None:
    """Print the plan of a spec as a table."""
    print_scale(spec, out)
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
    from orchestrator.selection import describe_choice

    for item in planned.trials[:SHOWN_TRIALS]:
        betas = " to ".join(f"{beta:.4g}" for beta in item.trial.method.trained_betas)
        status = ledger[item.trial_id]
        expected = "" if status.finished else duration(estimates[item.trial_id].device_seconds)
        table.add_row(item.trial_id[:12], item.series, betas, str(item.trial.seed), status.state, expected)
    out.print(table)
    if len(planned.trials) > SHOWN_TRIALS:
        out.print(f"… and {len(planned.trials) - SHOWN_TRIALS:,} more; --json lists all")
    for choice in planned.choices:
        out.print(describe_choice(choice), soft_wrap=True)
    out.print(_total(planned, ledger, estimates), soft_wrap=True)


def _examine(spec: SweepSpec, store: Store) -> tuple[Plan, Mapping[str, TrialStatus], Mapping[str, Estimate]]:
    from orchestrator.ledger import read_ledger
    from orchestrator.observations import estimate_trials
    from orchestrator.selection import resolve

    planned = resolve(spec, store)
    ledger = read_ledger(store, [*planned.trials, *planned.waiting], planned.name)
    return planned, ledger, estimate_trials(store, [*planned.trials, *planned.waiting], ledger)


def _total(planned: Plan, ledger: Mapping[str, TrialStatus], estimates: Mapping[str, Estimate]) -> str:
    from orchestrator.ledger import count_states
    from orchestrator.progress import duration

    left = [item.trial_id for item in planned.trials if not ledger[item.trial_id].finished]
    states = (ledger[item.trial_id] for item in planned.trials)
    counts = ", ".join(f"{count:,} {state}" for state, count in count_states(states).items())
    line = f"{len(planned.trials):,} trials: {counts}."
    if planned.waiting:
        line += f" {len(planned.waiting):,} more follow when their learning rates are chosen."
        left += [item.trial_id for item in planned.waiting]
    if not left:
        return f"{line} Nothing to run."
    sources = sorted({estimates[trial_id].source for trial_id in left})
    seconds = sum(estimates[trial_id].device_seconds for trial_id in left)
    return f"{line} About {duration(seconds)} of device time to go ({'; '.join(sources)})."


def _as_json(planned: Plan, ledger: Mapping[str, TrialStatus], estimates: Mapping[str, Estimate]) -> dict[str, object]:
    from orchestrator.scales import changes_of

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
                "stage": item.stage,
                "parameters": {key: value for key, value in identity.items() if key != "seed"},
                "eval_id": item.evaluation.eval_id,
                "evaluated_betas": list(item.evaluation.betas),
                "state": ledger[item.trial_id].state,
                "device_seconds": estimates[item.trial_id].device_seconds,
                "estimate": estimates[item.trial_id].source,
            }
        )
    choices = [
        {
            "curve": choice.series,
            "learning_rates": [candidate.learning_rate for candidate in choice.candidates],
            "chosen": choice.chosen,
        }
        for choice in planned.choices
    ]
    waiting = {
        "trials": len(planned.waiting),
        "device_seconds": sum(estimates[item.trial_id].device_seconds for item in planned.waiting),
    }
    scaled = {
        "by": planned.spec.scaled.by if planned.spec.scaled else None,
        "changes": [{"key": each.key, "from": each.full, "to": each.scaled} for each in changes_of(planned.spec)],
    }
    return {"sweep": planned.name, "scaled": scaled, "choices": choices, "waiting": waiting, "trials": trials}
