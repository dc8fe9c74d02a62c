from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluation.report.rendering.formats import FORMATS, USUAL
from orchestrator.cli.options import store_option, sweep_argument
from orchestrator.errors import hint
from orchestrator.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from workers.store.store import Store


def format_option(known: Iterable[str], usual: Sequence[str]) -> Callable[[Any], Any]:
    """Return the option that takes formats of a report, one at a time or with commas between them."""
    choices = tuple(known)

    def parse(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        named = [name.strip() for value in values for name in value.split(",")]
        for name in named:
            if name not in choices:
                advice, every = hint(name, choices), ", ".join(choices)
                raise click.BadParameter(
                    f"no format {name!r}; {advice}" + ("" if every in advice else f" There are {every}.")
                )
        return tuple(dict.fromkeys(named)) or tuple(usual)

    return click.option(
        "--format",
        "formats",
        metavar="NAME,…",
        multiple=True,
        callback=parse,
        shell_complete=lambda _context, _parameter, incomplete: [
            name for name in choices if name.startswith(incomplete)
        ],
        help=f"Formats: {', '.join(choices)}; repeatable.  [default: {','.join(usual)}]",
    )


@click.command("report")
@sweep_argument()
@store_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Output folder.  [default: the sweep's folder in the store]",
)
@format_option(FORMATS, USUAL)
@click.pass_context
def command(context: click.Context, sweep_name: str, store: Store, out: Path | None, formats: tuple[str, ...]) -> None:
    """Write the report of a sweep from the current store, or figures and tables for a paper.

    \b
    mrvae-orch report quickstart
    mrvae-orch report quickstart --out report/
    mrvae-orch report quickstart --out paper/ --format pdf,latex
    """
    from orchestrator.errors import ExitCode
    from orchestrator.reports.write import write_sweep_report
    from orchestrator.sweeps.status import read_statuses
    from orchestrator.sweeps.sweep import load_sweep

    sweep = load_sweep(store, sweep_name)
    statuses = read_statuses(store, sweep.plan.trials, sweep_name)
    if not write_sweep_report(store, sweep, statuses, console(), folder=out, formats=formats):
        context.exit(ExitCode.FAILED)
