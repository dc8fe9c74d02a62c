from __future__ import annotations

import json
from dataclasses import dataclass
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
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from orchestrator.estimate import Estimate
    from orchestrator.forecast import Forecast
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
@click.option(
    "--devices",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Say about how long it takes with N GPUs, or N CPU cores where trials hold no GPU.",
)
@json_option
def command(
    spec_path: Path,
    store: Store,
    scale: str | None,
    overrides: tuple[str, ...],
    devices: float | None,
    as_json: bool,
) -> None:
    """Show the trials of a spec: their ids, which are done already, and what the rest would cost. Runs nothing.

    \b
    mrvae-orch plan recipes/quickstart.yaml
    mrvae-orch plan my.yaml --scale smoke
    mrvae-orch plan my.yaml --devices 8
    mrvae-orch plan recipes/quickstart.yaml --json | jq '.trials[].trial_id'
    """
    from orchestrator.spec_file import read_spec

    spec = read_spec(spec_path, overrides, scale)
    if as_json:
        click.echo(json.dumps(_as_json(_examine(spec, store), devices), indent=1, ensure_ascii=False))
    else:
        show_plan(spec, store, console(), devices)


def show_plan(spec: SweepSpec, store: Store, out: Console, devices: float | None = None) -> None:
    """Print the plan of a spec as a table, and what it comes to; with so many `devices` how long that takes too."""
    print_scale(spec, out)
    found = _examine(spec, store)
    planned = found.plan
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
        status = found.ledger[item.trial_id]
        expected = "" if status.finished else duration(found.left[item.trial_id])
        table.add_row(item.trial_id[:12], item.series, betas, str(item.trial.seed), status.state, expected)
    out.print(table)
    if len(planned.trials) > SHOWN_TRIALS:
        out.print(f"… and {len(planned.trials) - SHOWN_TRIALS:,} more; --json lists all")
    for choice in planned.choices:
        out.print(describe_choice(choice), soft_wrap=True)
    for line in _totals(found, devices):
        out.print(line, soft_wrap=True)


@dataclass(frozen=True)
class _Found:
    """A plan with what the store tells of it; `left` are the device-seconds that each trial is to take still."""

    plan: Plan
    ledger: Mapping[str, TrialStatus]
    estimates: Mapping[str, Estimate]
    left: Mapping[str, float]
    forecast: Forecast


def _examine(spec: SweepSpec, store: Store) -> _Found:
    from orchestrator.forecast import forecast
    from orchestrator.ledger import read_ledger
    from orchestrator.observations import estimate_trials, expected_left, used_by
    from orchestrator.selection import resolve

    planned = resolve(spec, store)
    every = [*planned.trials, *planned.waiting]
    ledger = read_ledger(store, every, planned.name)
    estimates = estimate_trials(store, every, ledger)
    left = {each.trial_id: expected_left(estimates, each, ledger[each.trial_id]) for each in every}
    sources = sorted({estimates[trial_id].source for trial_id, seconds in left.items() if seconds})
    used = used_by(store, planned) if spec.budget else 0.0
    return _Found(planned, ledger, estimates, left, forecast(planned, ledger, left, sources, used))


def _totals(found: _Found, devices: float | None) -> Iterator[str]:
    from orchestrator.budget import hours
    from orchestrator.ledger import count_states
    from orchestrator.progress import duration

    planned, coming = found.plan, found.forecast
    states = (found.ledger[item.trial_id] for item in planned.trials)
    counts = ", ".join(f"{count:,} {state}" for state, count in count_states(states).items())
    line = f"{len(planned.trials):,} trials: {counts}."
    if planned.waiting:
        line += f" {len(planned.waiting):,} more follow when their learning rates are chosen."
    if store := coming.describe_store():
        line += f" {store}"
    yield line
    if not coming.left:
        yield "Nothing to run."
    else:
        device = "GPU" if coming.on_gpu else "CPU-core"
        yield (
            f"To run: about {duration(coming.left)} of {device} time, {hours(coming.left, on_gpu=coming.on_gpu)} "
            f"({'; '.join(coming.sources)})."
        )
    if budget := coming.describe_budget():
        yield budget
    if devices is not None and coming.left:
        yield _time_on(found, devices)


def _time_on(found: _Found, devices: float) -> str:
    from orchestrator.forecast import seconds_on
    from orchestrator.progress import duration

    many = f"{devices:g} {'GPU' if found.forecast.on_gpu else 'CPU core'}{'' if devices == 1 else 's'}"
    seconds = seconds_on(found.plan, found.left, devices)
    if seconds is None:
        return f"With {many} no trial can start: each holds more."
    return f"With {many} that nobody else uses: about {duration(seconds)}."


def _as_json(found: _Found, devices: float | None) -> dict[str, object]:
    from orchestrator.forecast import seconds_on
    from orchestrator.scales import changes_of

    planned, coming = found.plan, found.forecast
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
                "state": found.ledger[item.trial_id].state,
                "device_seconds": found.estimates[item.trial_id].device_seconds,
                "device_seconds_left": found.left[item.trial_id],
                "estimate": found.estimates[item.trial_id].source,
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
        "device_seconds": sum(found.left[item.trial_id] for item in planned.waiting),
    }
    budget = (
        {
            "device_hours": coming.limit / 3600,
            "used": coming.used / 3600,
            "passed_by": coming.passed_by / 3600,
        }
        if coming.limit is not None
        else None
    )
    cost = {
        "device": "GPU" if coming.on_gpu else "CPU",
        "device_hours": coming.left / 3600,
        "from_the_store": {"done": coming.done, "to_evaluate": coming.to_evaluate},
        "budget": budget,
        "seconds": None if devices is None else seconds_on(planned, found.left, devices),
    }
    scaled = {
        "by": planned.spec.scaled.by if planned.spec.scaled else None,
        "changes": [{"key": each.key, "from": each.full, "to": each.scaled} for each in changes_of(planned.spec)],
    }
    return {
        "sweep": planned.name,
        "scaled": scaled,
        "cost": cost,
        "choices": choices,
        "waiting": waiting,
        "trials": trials,
    }
