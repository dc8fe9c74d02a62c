from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import json_option, store_option, sweep_argument
from orchestrator.terminal import console, echo, echo_json
from workers.store.store import Folder, Store

if TYPE_CHECKING:
    from orchestrator.reports.check import CheckedSweep
    from orchestrator.sweeps.sweep import Sweep


def _complete_reference(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from orchestrator.reports.references import reference_names

    store = context.params.get("store") or Store(Path("runs"))
    return [name for name in reference_names(store) if name.startswith(incomplete)]


@click.command("check")
@sweep_argument(required=False)
@click.option(
    "--against",
    "reference_name",
    metavar="NAME",
    shell_complete=_complete_reference,
    help="A recorded reference of the store, a published one, or a file.",
)
@click.option("--list", "list_all", is_flag=True, help="List the available references.")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Output file for JUnit XML.  [default: checks/ in the sweep's folder in the store]",
)
@store_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    sweep_name: str | None,
    reference_name: str | None,
    list_all: bool,
    junit: Path | None,
    store: Store,
    as_json: bool,
) -> None:
    """Check a sweep's curves against published or recorded ones: equivalence within a tolerance, over seeds.

    Exit codes: 0 all checks passed; 1 one failed or is undecided; 2 the two cannot be compared.

    \b
    mrvae-orch check --list
    mrvae-orch check figure5-omniglot-resnet --against omniglot-resnet
    mrvae-orch check nightly --against last-release --junit check.xml
    """
    from orchestrator.reports.check import check_sweep, junit_place, write_junit
    from orchestrator.reports.references import find_reference, print_references
    from orchestrator.sweeps.sweep import load_sweep

    if list_all:
        _refuse_with_list(sweep_name, reference_name, junit, as_json=as_json)
        print_references(store, console())
        return
    if sweep_name is None or reference_name is None:
        raise click.UsageError("name a sweep and a reference: check SWEEP --against NAME; --list shows the references")
    sweep = load_sweep(store, sweep_name)
    reference = find_reference(store, reference_name)
    checked = check_sweep(store, sweep, reference)
    folder, name = (Folder(junit.parent), junit.name) if junit else junit_place(sweep, reference)
    write_junit(checked, folder, name, time.time())
    _show(checked, folder.place(name), as_json=as_json)
    _tell_if_broken(sweep, checked)
    context.exit(checked.exit_code)


def _refuse_with_list(*others: object, as_json: bool) -> None:
    if as_json or any(other is not None for other in others):
        raise click.UsageError("--list lists every reference and can be combined with --store only")


def _tell_if_broken(sweep: Sweep, checked: CheckedSweep) -> None:
    """Send the notification of the sweep's spec if a check failed; an undecided check is not a failure."""
    from orchestrator.driver.notify import broken_gate, notify

    outcomes = [check.outcome for check in checked.checks]
    if "failed" not in outcomes:
        return
    notification = broken_gate(sweep, checked.reference.name, outcomes)
    if line := notify(sweep.plan.spec.notify, notification, os.environ):
        echo(line, err=True)


def _show(checked: CheckedSweep, path: str, *, as_json: bool) -> None:
    from orchestrator.reports.check import print_checks

    if as_json:
        echo_json({**checked.to_json(), "junit": path})
        return
    out = console()
    print_checks(checked, out)
    out.print(f"JUnit XML: {path}", soft_wrap=True)
