"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from workers.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.spec import SweepSpec


def _store(_context: click.Context, _parameter: click.Parameter, value: str) -> Store:
    try:
        return Store.at(value)
    except StoreError as error:
        raise click.BadParameter(str(error)) from error


def complete_sweep(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the sweeps of the store whose names begin so, for a shell."""
    store = context.params.get("store") or Store(Path("runs"))
    return [name for name in store.sweep_names() if name.startswith(incomplete)]


PLAIN_WIDTH = 200

store_option = click.option(
    "--store",
    metavar="DIR|URL",
    default="runs",
    show_default=True,
    envvar="MRVAE_STORE",
    is_eager=True,
    callback=_store,
    help="Where results live: a folder, or s3://bucket/prefix (MRVAE_STORE).",
)
data_option = click.option(
    "--data",
    "data_root",
    metavar="DIR",
    default="data",
    show_default=True,
    envvar="MRVAE_DATA",
    type=click.Path(path_type=Path),
    help="Where datasets lie (MRVAE_DATA).",
)
tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    help="MLflow's server or database (MLFLOW_TRACKING_URI).  [default: SQLite in the store]",
)
scale_option = click.option(
    "--scale",
    metavar="NAME",
    help="Take the spec at one of its scales, such as smoke, as a sweep of its own.",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one value of the spec, such as training.epochs=5; may be repeated; comes after --scale.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
spec_argument = click.argument("spec_path", metavar="SPEC", type=click.Path(path_type=Path))


def sweep_argument(**options: Any) -> Callable[[Any], Any]:
    """Return the argument that names a sweep, completed from the store."""
    return click.argument("sweep_name", metavar="SWEEP", shell_complete=complete_sweep, **options)


def console() -> Console:
    """Return the console that results go to; tables in a file or a pipe are not cut to a terminal's width."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=PLAIN_WIDTH)


def print_scale(spec: SweepSpec, out: Console) -> None:
    """Print what is scaled, where a spec is at a scale."""
    from orchestrator.scales import describe_scale

    if line := describe_scale(spec):
        out.print(line, soft_wrap=True)
