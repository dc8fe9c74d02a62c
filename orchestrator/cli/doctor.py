from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import address_option, data_option, store_option, tracking_option
from orchestrator.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store.store import Store


@click.command("doctor")
@store_option
@data_option
@tracking_option
@click.option(
    "--calibrate",
    is_flag=True,
    help="Measure this device's speed and store it, so that reports can convert times between device types. "
    "Takes half a minute; nothing else should run meanwhile.",
)
@click.option(
    "--gpus",
    type=click.IntRange(0, 1),
    help="With --calibrate: 1 measures the first visible GPU, 0 the CPU.  [default: 1 if there is a GPU]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="With --calibrate: CPU threads, as in training.threads of the trials.  [default: 1]",
)
@address_option
@click.pass_context
def command(
    context: click.Context,
    *,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    calibrate: bool,
    gpus: int | None,
    threads: int | None,
    address: str | None,
) -> None:
    """Check versions, devices, plug-ins, datasets, the store, MLflow and a cluster. Exit code 1 on any problem.

    \b
    mrvae-orch doctor --store /mnt/runs --tracking-uri http://mlflow.lab:5000
    mrvae-orch doctor --store /mnt/runs --calibrate
    mrvae-orch doctor --address http://head:8265
    """
    if not calibrate and (gpus is not None or threads is not None):
        raise click.UsageError("--gpus and --threads need --calibrate")
    from rich.text import Text

    from orchestrator import doctor

    findings = itertools.chain(
        doctor.examine_machine(),
        doctor.examine_store(store),
        doctor.examine_datasets(data_root),
        doctor.examine_tracking(store, tracking_uri),
        doctor.examine_cluster(address) if address else (),
        doctor.measure_speed(store, gpus, threads or 1) if calibrate else (),
        doctor.examine_calibrations(store),
    )
    marks = {
        doctor.Grade.GOOD: ("ok   ", "green"),
        doctor.Grade.WRONG: ("wrong", "red"),
        doctor.Grade.NEUTRAL: ("     ", ""),
    }
    out = console()
    code = 0
    for finding in findings:
        out.print(Text.assemble(marks[finding.grade], " ", str(finding)), soft_wrap=True)
        code = max(code, int(finding.grade is doctor.Grade.WRONG))
    context.exit(code)
