from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import console, json_option, store_option, sweep_argument
from workers.store import Folder, Store

if TYPE_CHECKING:
    from orchestrator.checking import CheckedSweep
    from orchestrator.sweeps import Sweep


def _complete_reference(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from orchestrator.references import reference_names

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
@click.option("--list", "list_all", is_flag=True, help="List the references there are.")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write JUnit XML.  [default: checks/ in the sweep's folder in the store]",
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
    from orchestrator.checking import check_sweep, junit_place, write_junit
    from orchestrator.references import find_reference, print_references
    from orchestrator.sweeps import load_sweep

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
        raise click.UsageError("--list shows every reference, and takes --store only")


def _tell_if_broken(sweep: Sweep, checked: CheckedSweep) -> None:
    """Tell whom the sweep's spec names that a check has failed; one that is undecided breaks no gate."""
    from orchestrator.notify import broken_gate, notify

    outcomes = [check.outcome for check in checked.checks]
    if "failed" not in outcomes:
        return
    news = broken_gate(sweep, checked.reference.name, outcomes)
    if line := notify(sweep.plan.spec.notify, news, os.environ):
        click.echo(line, err=True)


def _show(checked: CheckedSweep, path: str, *, as_json: bool) -> None:
    from orchestrator.checking import print_checks

    if as_json:
        click.echo(json.dumps({**checked.to_json(), "junit": path}, indent=1, ensure_ascii=False))
        return
    out = console()
    print_checks(checked, out)
    out.print(f"JUnit XML: {path}", soft_wrap=True)
