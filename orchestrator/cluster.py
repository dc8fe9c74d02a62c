"""The Ray that trials run on: one of this machine, or a cluster. What Ray knows of nodes, and the desk of a cluster."""

from __future__ import annotations

import json
import logging
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# Set before Ray is imported, which reads them then: its own progress output is not wanted, and authentication is,
# whatever the surroundings say.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_AUTH_MODE": "token"}

import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.dashboard.modules.job.common import JOB_ID_METADATA_KEY
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.admission import Bundle, Demand, Desk, Grant, Node
from orchestrator.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.admission import SweepState
    from orchestrator.plan import PlannedTrial
    from workers.trial import Resources

NAMESPACE = "mrvae-orch"
"""What the drivers of a cluster share: the desk is in it. A Ray of one driver has none."""
DESK = "desk 1"
"""Its number changes with what drivers and the desk tell each other."""
DESK_LISTENS_SECONDS = 5.0
"""How long the desk of a cluster only listens after it has started: each driver reports every second."""
DESK_ANSWERS_WITHIN_SECONDS = 10.0
KIND_PREFIX = "accelerator_type:"
GIB = 2**30


@contextmanager
def local_ray(cpus: int | None = None, gpus: int | None = None) -> Iterator[None]:
    """Hold a Ray of this machine for the block, with token authentication and a token of its own.

    Raises RuntimeError where Ray cannot start.
    """
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    _init(address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def connected_ray(address: str = "auto") -> Iterator[None]:
    """Hold a connection to a running cluster for the block; "auto" is the one whose job or node this process is.

    The cluster's token is where Ray looks for it: `RAY_AUTH_TOKEN`, or the file that `RAY_AUTH_TOKEN_PATH` names.
    Raises ClusterError where the cluster cannot be reached or does not take the token.
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
    """Return the id of the cluster's job that this process is the driver of, or None where it is none."""
    # Ray's supervisor of jobs leaves it there for `ray.init`.
    found: str | None = (
        json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")).get("metadata", {}).get(JOB_ID_METADATA_KEY)
    )
    return found


def is_connected() -> bool:
    """Whether this process holds a Ray."""
    return bool(ray.is_initialized())


def nodes() -> list[Node]:
    """Return the nodes that work can start on: alive, and not about to be taken away."""
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
    """Return the ids of the nodes that are about to be taken away: drained, or `ray start --block` got a SIGTERM."""
    # Ray's own Train asks here too; there is no public way.
    return frozenset(ray._private.state.state.get_draining_nodes())  # noqa: SLF001


def demand_of(resources: Resources) -> Demand:
    """Return what a trial asks of the cluster."""
    bundle = Bundle(resources.cpus, resources.gpus, resources.memory_gib, resources.gpu_kind)
    return Demand(bundle, resources.ranks, resources.least_ranks)


def amounts(bundle: Bundle) -> dict[str, float]:
    """Return a bundle in Ray's words."""
    wanted = {"CPU": bundle.cpus, "GPU": bundle.gpus, "memory": bundle.memory_gib * GIB}
    if bundle.gpu_kind:
        wanted[KIND_PREFIX + bundle.gpu_kind] = 0.001
    return {name: amount for name, amount in wanted.items() if amount > 0}


def devices(resources: Resources, ranks: int | None = None) -> float:
    """Return how many devices a trial holds: its GPUs, or its CPUs where it has none."""
    return (resources.gpus or resources.cpus) * (ranks or resources.ranks)


def parallel_trials(trials: Sequence[PlannedTrial]) -> float:
    """Return how many of these trials the connected Ray can run at once, by their mean needs."""
    total = ray.cluster_resources()
    limits = []
    for name in ("CPU", "GPU", "memory"):
        needs = (amounts(demand_of(each.resources).bundle).get(name, 0.0) * each.resources.ranks for each in trials)
        mean = sum(needs) / len(trials)
        if mean:
            limits.append(float(total.get(name, 0.0)) / mean)
    return min(limits)


def unplaceable(trials: Sequence[PlannedTrial]) -> str | None:
    """Return why some trial can never start on the connected Ray, or None where each fits."""
    there = nodes()
    for resources in {planned.resources: None for planned in trials}:
        demand = demand_of(resources)
        fitting = sum(_ranks_on(node, demand.bundle) for node in there)
        least = demand.least_ranks or demand.ranks
        if fitting >= least:
            continue
        wanted = ", ".join(_in_words(demand.bundle))
        if demand.ranks == 1:
            return f"a trial wants {wanted}, and no node has that; lower `resources` in the spec"
        return (
            f"a trial wants {least} ranks of {wanted} each, and all nodes together have room for {fitting}; "
            "lower `resources` in the spec"
        )
    return None


def _ranks_on(node: Node, bundle: Bundle) -> int:
    if bundle.gpu_kind not in ("", node.gpu_kind):
        return 0
    limits = [node.cpus / bundle.cpus] if bundle.cpus else []
    limits += [node.memory_gib / bundle.memory_gib] if bundle.memory_gib else []
    if bundle.gpus >= 1:
        limits.append(node.gpus / bundle.gpus)
    elif bundle.gpus:
        limits.append(node.gpus * (1 // bundle.gpus))  # a part of a GPU lies on one device
    return int(min(limits) + 1e-9)


def _in_words(bundle: Bundle) -> Iterator[str]:
    kind = f" ({bundle.gpu_kind})" if bundle.gpu_kind else ""
    if bundle.cpus:
        yield f"{bundle.cpus:g} CPU"
    if bundle.gpus:
        yield f"{bundle.gpus:g} GPU{kind}"
    if bundle.memory_gib:
        yield f"{bundle.memory_gib:g} GiB of memory"


def _is_kind(resource: str) -> bool:
    return resource.startswith(KIND_PREFIX)


def desk() -> Desk | ClusterDesk:
    """Return who admits trials to the connected Ray: this process alone, or the desk that a cluster's drivers share."""
    return ClusterDesk() if ray.get_runtime_context().namespace == NAMESPACE else Desk(nodes)


class ClusterDesk:
    """The desk that all drivers of a cluster share: a named actor that outlives them, made by whoever comes first.

    It keeps nothing that the next reports would not tell it, so it is made anew where it is gone.
    """

    def __init__(self) -> None:
        self._actor: Any = None

    def report(self, state: SweepState) -> Grant:
        """Take the state of one sweep, and return what it may do now: nothing while the desk does not answer."""
        return self._ask("report", state) or Grant(why="waits for the desk of the cluster, which does not answer")

    def leave(self, name: str) -> None:
        """Forget a sweep that has ended; where the desk does not answer, it does so by itself."""
        self._ask("leave", name)

    def _ask(self, method: str, argument: Any) -> Any:
        try:
            if self._actor is None:
                self._actor = _desk_actor()
            return ray.get(getattr(self._actor, method).remote(argument), timeout=DESK_ANSWERS_WITHIN_SECONDS)
        except (RayActorError, GetTimeoutError):
            self._actor = None
            return None


def _desk_actor() -> Any:
    options = {"name": DESK, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    actor = ray.remote(Desk).options(**options, num_cpus=0, max_restarts=-1)
    return actor.remote(nodes, listen_seconds=DESK_LISTENS_SECONDS)
