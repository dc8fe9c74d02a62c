"""Worker groups: the processes that run a trial, one Ray actor or several in one placement group."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.execution.ray_cluster import (
    amounts,  # before Ray: that module sets what Ray reads when it is imported
)

# isort: split
import ray
from ray.util import get_node_ip_address, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from orchestrator.execution.worker import Worker
from workers.distributed.ranks import RankInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.execution.worker import Job, WorkerCallbacks, WorkerSettings
    from orchestrator.scheduling.resources import Bundle
    from workers.outcome import Outcome

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Location:
    """The node of a worker, and a free address there at which other ranks can reach it."""

    node_id: str
    address: str


class RayWorker(Worker):
    """A worker in a process of Ray's, which runs the constructor in the main thread and methods in others.

    So a SIGTERM is handled while a trial runs: the trial checkpoints and stops. Ray sends one when it ends a process,
    and a SIGKILL soon after.
    """

    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGTERM, self._handle)

    def location(self) -> Location:
        """Return where this process is."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return Location(ray.get_runtime_context().get_node_id(), f"{get_node_ip_address()}:{port}")

    def _handle(self, _number: int, _frame: object) -> None:
        if not self.terminate():
            os._exit(TERMINATED_EXIT_CODE)


_TRIAL = "trial"
_Actor = ray.remote(concurrency_groups={_TRIAL: 1})(RayWorker)
"""Trials run in a separate thread, so that the other methods answer meanwhile."""


class WorkerGroup:
    """Workers that run one trial after another; `nodes` are known once they have started.

    A placement group gets all its bundles or none (gang scheduling), so that two groups cannot wait for each other.
    `locations` are the references to where the workers are, while they start.
    """

    def __init__(self, bundle: Bundle, ranks: int, nodes: Sequence[str] = ()) -> None:
        self.shape = (bundle, ranks)
        self.ranks = ranks
        self.nodes: tuple[str, ...] = ()
        self._address = ""
        self._placement_group = None
        wanted = amounts(bundle)
        if ranks == 1:
            # Soft, because Ray may know better by now where there is room.
            strategies = [NodeAffinitySchedulingStrategy(nodes[0], soft=True) if nodes else None]
        else:
            self._placement_group = placement_group([wanted] * ranks, strategy="PACK")
            strategies = [PlacementGroupSchedulingStrategy(self._placement_group, rank) for rank in range(ranks)]
        self._actors = [_start(wanted, strategy) for strategy in strategies]
        self.locations: list[Any] = [actor.location.remote() for actor in self._actors]

    def locate(self) -> None:
        """Note where the workers are, once all have answered. Raises Ray's error if one died."""
        locations: list[Location] = ray.get(self.locations)
        self.locations = []
        self.nodes = tuple(location.node_id for location in locations)
        self._address = locations[0].address

    def run(
        self,
        key: str,
        work: Callable[[Job, WorkerSettings, WorkerCallbacks], Outcome],
        job: Job,
        settings: WorkerSettings,
    ) -> list[Any]:
        """Start a job, and return the references to its outcomes, one for each rank."""
        size = len(self._actors)
        ranks = [RankInfo(rank, size, self._address) for rank in range(size)] if size > 1 else [None]
        return [
            actor.run.options(concurrency_group=_TRIAL).remote(key, work, job, settings, rank)
            for actor, rank in zip(self._actors, ranks, strict=True)
        ]

    def status(self) -> Any:
        """Return the reference to the status of rank 0; the others take no step without it."""
        return self._actors[0].status.remote()

    def stop(self, key: str) -> None:
        """Make a job checkpoint and stop."""
        for actor in self._actors:
            actor.stop.remote(key)

    def dismiss(self) -> None:
        """Kill the workers, and free their resources."""
        for actor in self._actors:
            ray.kill(actor)
        if self._placement_group is not None:
            remove_placement_group(self._placement_group)
            self._placement_group = None


def _start(wanted: dict[str, float], strategy: Any) -> Any:
    custom = {name: amount for name, amount in wanted.items() if name not in ("CPU", "GPU", "memory")}
    options = {
        "num_cpus": wanted.get("CPU", 0),
        "num_gpus": wanted.get("GPU", 0),
        "memory": int(wanted["memory"]) if "memory" in wanted else None,
        "resources": custom or None,
        "scheduling_strategy": strategy,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    return _Actor.options(**options).remote()
