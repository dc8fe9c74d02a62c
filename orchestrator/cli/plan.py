from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    data_option,
    json_option,
    print_scale,
    rest_idle_threads,
    scale_option,
    set_option,
    spec_argument,
    store_option,
)
from orchestrator.terminal import console, echo_json

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from orchestrator.costs.plan_report import PlanReport
    from orchestrator.spec.model import SweepSpec
    from workers.store.store import Store

SHOWN_TRIALS = 40


@click.command("plan")
@spec_argument
@store_option
@data_option
@scale_option
@set_option
@click.option(
    "--devices",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Estimate the time on N GPUs, or on N CPU cores if the trials use no GPU.",
)
@json_option
def command(
    spec_path: Path,
    store: Store,
    data_root: Path,
    scale: str | None,
    overrides: tuple[str, ...],
    devices: float | None,
    as_json: bool,
) -> None:
    """Show the trials of a spec, which are done, and the expected cost of the rest. Runs nothing.

    \b
    mrvae-orch plan recipes/quickstart.yaml
    mrvae-orch plan my.yaml --scale smoke
    mrvae-orch plan my.yaml --devices 8
    mrvae-orch plan recipes/quickstart.yaml --json | jq '.trials[].trial_id'
    """
    from orchestrator.costs.plan_report import examine
    from orchestrator.spec.file import read_spec

    rest_idle_threads()
    spec = read_spec(spec_path, overrides, scale)
    if as_json:
        echo_json(examine(spec, store, data_root).to_json(devices))
    else:
        show_plan(spec, store, data_root, console(), devices)


def show_plan(spec: SweepSpec, store: Store, data_root: Path, out: Console, devices: float | None = None) -> None:
    """Print the plan of a spec as a table with its totals, and its duration on `devices` devices."""
    from orchestrator.costs.plan_report import examine
    from orchestrator.sweeps.selection import describe_choice

    print_scale(spec, out)
    report = examine(spec, store, data_root)
    out.print(_table(report))
    if len(report.plan.trials) > SHOWN_TRIALS:
        out.print(f"… and {len(report.plan.trials) - SHOWN_TRIALS:,} more; --json lists all")
    for line in (*map(describe_choice, report.plan.choices), *report.summary(devices)):
        out.print(line, soft_wrap=True)


def _table(report: PlanReport) -> Table:
    from rich.table import Table

    from evaluation.operating_points import beta_range_text
    from evaluation.report.formatting import duration

    table = Table(box=None, header_style="bold")
    for column in ("trial", "curve", "β"):
        table.add_column(column)
    table.add_column("seed", justify="right")
    table.add_column("state")
    table.add_column("device time", justify="right")
    for item in report.plan.trials[:SHOWN_TRIALS]:
        betas = beta_range_text(item.trial.method.trained_betas, digits=4)
        status = report.statuses[item.trial_id]
        expected = "" if status.finished else duration(report.left[item.trial_id])
        table.add_row(item.trial_id[:12], item.series, betas, str(item.trial.seed), status.state, expected)
    return table
