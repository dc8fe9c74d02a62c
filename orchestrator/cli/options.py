"""Options that several commands share, and their values."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.errors import UserError
from orchestrator.terminal import console
from workers.store.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.driver.driver import SubmitOptions
    from orchestrator.spec.model import SweepSpec


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
    from orchestrator.sweeps.sweep import load_sweep

    store = context.params.get("store") or Store(Path("runs"))
    trials = load_sweep(store, context.params["sweep_name"]).plan.trials
    return [planned.trial_id for planned in trials if planned.trial_id.startswith(incomplete)]


store_option = click.option(
    "--store",
    metavar="DIR|URL",
    default="runs",
    show_default=True,
    envvar="MRVAE_STORE",
    is_eager=True,
    callback=_store,
    help="The store of results: a folder or s3://bucket/prefix (MRVAE_STORE).",
)
data_option = click.option(
    "--data",
    "data_root",
    metavar="DIR",
    default="data",
    show_default=True,
    envvar="MRVAE_DATA",
    type=click.Path(path_type=Path),
    help="The folder of datasets (MRVAE_DATA).",
)


def _tracking_uri(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from orchestrator.tracking.uri import lacks_scheme

    if value is not None and lacks_scheme(value):
        raise UserError(
            "--tracking-uri or MLFLOW_TRACKING_URI has a user but no scheme, and is not repeated here, because it may "
            "contain a password; write https:// before it"
        )
    return value


tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    callback=_tracking_uri,
    envvar="MLFLOW_TRACKING_URI",
    help="MLflow's server or database (MLFLOW_TRACKING_URI).  [default: SQLite in the store]",
)
scale_option = click.option(
    "--scale",
    metavar="NAME",
    help="Use one of the spec's scales, such as smoke; runs as a separate sweep.",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one value of the spec, such as training.epochs=5; repeatable; applied after --scale.",
)
address_option = click.option(
    "--address",
    metavar="URL",
    help="The dashboard of a Ray cluster, such as http://head:8265.",
)
follow_option = click.option(
    "--follow", "stay", is_flag=True, help="With --address: wait and stream the sweep's output."
)
code_option = click.option("--code", is_flag=True, help="With --address: also send this installation's code.")
checkpoint_option = click.option(
    "--checkpoint-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds between checkpoints of a running trial.",
)
verbose_option = click.option(
    "--verbose", is_flag=True, help="Log every epoch and checkpoint; mrvae-orch logs SWEEP TRIAL shows them."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
spec_argument = click.argument("spec_path", metavar="SPEC", type=click.Path(path_type=Path))


def sweep_argument(*, required: bool = True) -> Callable[[Any], Any]:
    """Return the argument that names a sweep, completed from the store."""
    metavar = "SWEEP" if required else "[SWEEP]"
    return click.argument("sweep_name", metavar=metavar, shell_complete=complete_sweep, required=required)


def rest_idle_threads() -> None:
    """Let NumPy's idle threads sleep, in a command that computes nothing: each would spin for 30 ms after its start."""
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


def send_to_cluster(
    context: click.Context,
    spec: SweepSpec,
    *,
    retry_failed: bool = False,
    retrain: bool = False,
    retry_joined: bool = False,
) -> int:
    """Submit a sweep to the cluster of --address with the command's other options, and return the exit code."""
    from orchestrator.remote.jobs import RemoteSweep
    from orchestrator.remote.submit import cluster_place, open_cluster, submit_remotely, tracking_place

    given = context.params
    # The cluster has a data folder of its own, unless one is named.
    is_named = context.get_parameter_source("data_root") is not ParameterSource.DEFAULT
    sweep = RemoteSweep(
        spec,
        place_on_cluster(context),
        data_root=cluster_place("--data", str(given["data_root"])) if is_named else None,
        tracking_uri=tracking_place(given["tracking_uri"]),
        retry_failed=retry_failed,
        retrain=retrain,
        checkpoint_seconds=given["checkpoint_every"],
        verbose=given["verbose"],
        code=given["code"],
    )
    cluster = open_cluster(given["address"])
    return submit_remotely(cluster, sweep, given["store"], console(), stay=given["stay"], retry_joined=retry_joined)


def place_on_cluster(context: click.Context) -> str:
    """Return the store's location for a cluster. Raises UserError if its machines would not find the same store."""
    from orchestrator.remote.submit import cluster_place

    return cluster_place("--store", context.meta[STORE_PLACE])


def run_here(spec: SweepSpec, store: Store, options: SubmitOptions, *, connect: bool = False) -> int:
    """Run a sweep on this machine's Ray, or on the cluster whose job this process is; return the exit code."""
    from orchestrator.driver.driver import submit

    if not connect:
        return submit(spec, store, options, console())
    from orchestrator.execution.ray_cluster import connected_ray, job_id
    from orchestrator.remote.package import LOCK, differences

    for difference in differences(Path(LOCK).read_text()):
        console().print(difference, soft_wrap=True)
    with connected_ray():
        return submit(spec, store, replace(options, job=job_id()), console())


def print_scale(spec: SweepSpec, out: Console) -> None:
    """Print the changes of the spec's scale, if it has one."""
    from orchestrator.spec.scales import describe_scale

    if line := describe_scale(spec):
        out.print(line, soft_wrap=True)
