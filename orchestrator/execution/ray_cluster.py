"""The Ray that trials run on, on this machine or on a cluster, and its nodes."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Set before the import of Ray, which reads them: no progress output, and authentication whatever the environment says.
# After a lost connection Ray waits 5 s instead of 1 s for its node's report, so that a slow node is not taken for a
# lost one.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_timeout_ms_task_wait_for_death_info": "5000",
}

import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.dashboard.modules.job.common import JOB_ID_METADATA_KEY

from orchestrator.errors import ClusterError
from orchestrator.scheduling.allocation import ClusterAllocation
from orchestrator.scheduling.resources import Bundle, Node, describe_unplaceable, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.planning.plan import PlannedTrial

NAMESPACE = "mrvae-orch"
"""The Ray namespace of a cluster's drivers and their scheduler. A local Ray, with one driver, does not use it."""
KIND_PREFIX = "accelerator_type:"
GIB = 2**30
FOLDER_PREFIX = "mrvae-orch-ray-"
LONGEST_FOLDER = 107 - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""The path of a Unix socket has at most 107 bytes (unix(7))."""


@contextmanager
def local_ray(cpus: int | None = None, gpus: int | None = None) -> Iterator[None]:
    """Run a Ray on this machine for the block, with token authentication and a new token.

    Its logs are kept where the block ends with an error. Raises RuntimeError if Ray cannot start.
    """
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    folder = _private_folder()
    _init(address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, _temp_dir=str(folder / "ray"))
    try:
        yield
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> Path:
    """Make a folder that no other user can enter. Raises OSError.

    In that of Ray's choice, and in any that Ray is given, everybody may write: also where its sockets are.
    """
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    if len(str(folder)) <= LONGEST_FOLDER:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir="/tmp"))


@contextmanager
def connected_ray(address: str = "auto") -> Iterator[None]:
    """Connect to a running cluster for the block; "auto" is the one whose job or node this process is.

    The cluster's token is where Ray looks for it: `RAY_AUTH_TOKEN`, or the file that `RAY_AUTH_TOKEN_PATH` names.
    Raises ClusterError if the cluster cannot be reached or rejects the token.
    """
    try:
        _init(address=address, namespace=NAMESPACE)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"cannot connect to the Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _init(**options: Any) -> None:
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options)


def job_id() -> str | None:
    """Return the id of the cluster's job whose driver this process is, or None."""
    # Ray's job supervisor sets it for `ray.init`.
    found: str | None = (
        json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")).get("metadata", {}).get(JOB_ID_METADATA_KEY)
    )
    return found


def is_connected() -> bool:
    """Whether this process is connected to a Ray."""
    return bool(ray.is_initialized())


def nodes() -> list[Node]:
    """Return the nodes that trials can start on: alive, and not draining."""
    leaving = draining()
    return [
        Node(
            node_id=node["NodeID"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_gib=node["Resources"].get("memory", 0.0) / GIB,
            gpu_kind=next((name.removeprefix(KIND_PREFIX) for name in node["Resources"] if _is_kind(name)), ""),
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    ]


def draining() -> frozenset[str]:
    """Return the ids of nodes that are draining, or whose `ray start --block` received SIGTERM."""
    # Ray Train uses it too; there is no public API.
    return frozenset(ray._private.state.state.get_draining_nodes())  # noqa: SLF001


def amounts(bundle: Bundle) -> dict[str, float]:
    """Return a bundle in Ray's resource names."""
    wanted = {"CPU": bundle.cpus, "GPU": bundle.gpus, "memory": bundle.memory_gib * GIB}
    if bundle.gpu_kind:
        wanted[KIND_PREFIX + bundle.gpu_kind] = 0.001
    return {name: amount for name, amount in wanted.items() if amount > 0}


def parallel_trials(trials: Sequence[PlannedTrial]) -> float:
    """Return how many of these trials the connected Ray can run at once, by their mean requests."""
    total = ray.cluster_resources()
    requests = [request_of(each.resources, each.trial.training) for each in trials]
    limits = []
    for name in ("CPU", "GPU", "memory"):
        mean = sum(each.ranks * amounts(each.bundle).get(name, 0.0) for each in requests) / len(requests)
        limits += [float(total.get(name, 0.0)) / mean] if mean else []
    return min(limits)


def unplaceable(trials: Sequence[PlannedTrial]) -> str | None:
    """Return why a trial can never start on the connected Ray, or None if each fits."""
    cluster = ClusterAllocation(nodes(), ())
    requests = dict.fromkeys(request_of(each.resources, each.trial.training) for each in trials)
    for request in requests:
        if not cluster.size(request):
            return f"{describe_unplaceable(request)}; lower `resources` in the spec"
    return None


def _is_kind(resource: str) -> bool:
    return resource.startswith(KIND_PREFIX)
