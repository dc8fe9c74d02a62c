"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from workers.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.spec import SweepSpec
    from orchestrator.submission import SubmitOptions


STORE_PLACE = "orchestrator.store_place"
"""In a context's `meta`: the store as the user wrote it."""


def _store(context: click.Context, _parameter: click.Parameter, value: str) -> Store:
    context.meta[STORE_PLACE] = value
    try:
        return Store.at(value)
    except StoreError as error:
        raise click.BadParameter(str(error)) from error


def complete_sweep(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the sweeps of the store whose names begin so, for a shell."""
    store = context.params.get("store") or Store(Path("runs"))
    return [name for name in store.sweep_names() if name.startswith(incomplete)]


def complete_trial(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the sweep's trials that begin so, for a shell."""
    from orchestrator.sweeps import load_sweep

    store = context.params.get("store") or Store(Path("runs"))
    trials = load_sweep(store, context.params["sweep_name"]).plan.trials
    return [planned.trial_id for planned in trials if planned.trial_id.startswith(incomplete)]


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
address_option = click.option(
    "--address",
    metavar="URL",
    help="The dashboard of a Ray cluster, such as http://head:8265.",
)
follow_option = click.option(
    "--follow", "stay", is_flag=True, help="With --address: stay, and print what the sweep prints."
)
code_option = click.option("--code", is_flag=True, help="With --address: send this installation's own code too.")
checkpoint_option = click.option(
    "--checkpoint-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How often a running trial checkpoints.",
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


def send_to_cluster(
    context: click.Context, spec: SweepSpec, *, retry_failed: bool = False, retry_joined: bool = False
) -> int:
    """Send a sweep to the cluster of --address, as a command's other options say, and return the exit code."""
    from orchestrator.jobs import SentSweep
    from orchestrator.sending import cluster_place, open_cluster, send_sweep, tracking_place

    given = context.params
    # The cluster has a data folder of its own, unless one is named.
    is_named = context.get_parameter_source("data_root") is not ParameterSource.DEFAULT
    sweep = SentSweep(
        spec,
        place_on_cluster(context),
        data_root=cluster_place("--data", str(given["data_root"])) if is_named else None,
        tracking_uri=tracking_place(given["tracking_uri"]),
        retry_failed=retry_failed,
        checkpoint_seconds=given["checkpoint_every"],
        code=given["code"],
    )
    cluster = open_cluster(given["address"])
    return send_sweep(cluster, sweep, given["store"], console(), stay=given["stay"], retry_joined=retry_joined)


def place_on_cluster(context: click.Context) -> str:
    """Return the store as a cluster is told of it. Raises UserError where its machines could not find the same one."""
    from orchestrator.sending import cluster_place

    return cluster_place("--store", context.meta[STORE_PLACE])


def run_here(spec: SweepSpec, store: Store, options: SubmitOptions, *, connect: bool = False) -> int:
    """Run a sweep on this machine's Ray, or on the cluster whose job this process is, and return the exit code."""
    from orchestrator.submission import submit

    if not connect:
        return submit(spec, store, options, console())
    from orchestrator.cluster import connected_ray, job_id
    from orchestrator.parcel import LOCK, differences

    for difference in differences(Path(LOCK).read_text()):
        console().print(difference, soft_wrap=True)
    with connected_ray():
        return submit(spec, store, replace(options, job=job_id()), console())


def print_scale(spec: SweepSpec, out: Console) -> None:
    """Print what is scaled, where a spec is at a scale."""
    from orchestrator.scales import describe_scale

    if line := describe_scale(spec):
        out.print(line, soft_wrap=True)
