"""The processes that run a trial: one Ray actor, or the ranks of a gang in one placement group."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster import amounts  # before Ray: that module sets what Ray reads when it is imported

# isort: split
import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.util import get_node_ip_address, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from orchestrator.retries import DIED, HOST_MEMORY, NODE
from orchestrator.worker import Rank, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.admission import Bundle
    from orchestrator.worker import Hooks, Job, WorkerSettings
    from workers.outcome import Outcome

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Place:
    """Where a rank's process is, and an address at which others could meet it."""

    node_id: str
    address: str


class RayWorker(Worker):
    """A worker in a process of Ray's, which runs constructors in the main thread and methods in others.

    So a SIGTERM is handled at once while a trial runs: the trial checkpoints and stops. Ray itself sends one when it
    ends a process, and a SIGKILL soon after.
    """

    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGTERM, self._handle)

    def introduce(self) -> Place:
        """Return where this process is."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return Place(ray.get_runtime_context().get_node_id(), f"{get_node_ip_address()}:{port}")

    def _handle(self, _number: int, _frame: object) -> None:
        if not self.terminate():
            os._exit(TERMINATED_EXIT_CODE)


_TRIAL = "trial"
_Actor = ray.remote(concurrency_groups={_TRIAL: 1})(RayWorker)
"""Trials have a thread of their own, so that the other methods answer meanwhile."""


class Crew:
    """The processes of one shape, which run one trial after another; `nodes` are known once they have started.

    A gang's placement group gets all its bundles or none, so gangs cannot wait for each other. Ray starts the ranks
    when it has them.
    """

    def __init__(self, bundle: Bundle, ranks: int, near: Sequence[str] = ()) -> None:
        self.shape = (bundle, ranks)
        self.ranks = ranks
        self.nodes: tuple[str, ...] = ()
        self.introductions: list[Any] = []
        self._address = ""
        self._group = None
        wanted = amounts(bundle)
        if ranks == 1:
            # Where there is room, though Ray may know better by now.
            strategies = [NodeAffinitySchedulingStrategy(near[0], soft=True) if near else None]
        else:
            self._group = placement_group([wanted] * ranks, strategy="PACK")
            strategies = [PlacementGroupSchedulingStrategy(self._group, rank) for rank in range(ranks)]
        self._actors = [_start(wanted, strategy) for strategy in strategies]
        self.introductions = [actor.introduce.remote() for actor in self._actors]

    def meet(self) -> None:
        """Take in where the processes are, once all have introduced themselves. Raises Ray's error where one died."""
        places: list[Place] = ray.get(self.introductions)
        self.introductions = []
        self.nodes = tuple(place.node_id for place in places)
        self._address = places[0].address

    def run(
        self, key: str, work: Callable[[Job, WorkerSettings, Hooks], Outcome], job: Job, settings: WorkerSettings
    ) -> list[Any]:
        """Start a job, and return the references of its outcomes, one a rank."""
        size = len(self._actors)
        ranks = [Rank(number, size, self._address) for number in range(size)] if size > 1 else [None]
        return [
            actor.run.options(concurrency_group=_TRIAL).remote(key, work, job, settings, rank)
            for actor, rank in zip(self._actors, ranks, strict=True)
        ]

    def look(self) -> Any:
        """Return the reference to how the first rank stands; the others take no step without it."""
        return self._actors[0].look.remote()

    def stop(self, key: str) -> None:
        """Make a job checkpoint and stop."""
        for actor in self._actors:
            actor.stop.remote(key)

    def dismiss(self) -> None:
        """End the processes, whatever they do, and give back what they hold."""
        for actor in self._actors:
            ray.kill(actor)
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None


def cause_of(error: Exception) -> tuple[str, str]:
    """Return why a rank's process ended, as the retries' cause, and what Ray says of it beyond that."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return HOST_MEMORY, ""
    if not isinstance(error, RayActorError):
        # Our own code, outside of the trial: a package that is missing there, most likely.
        return DIED, f"its worker failed: {text.strip().splitlines()[-1]}"
    if error.actor_init_failed:
        return DIED, f"its worker could not start: {text.strip().splitlines()[-1]}"
    if "node has died" in text or error.preempted:
        return NODE, ""
    return DIED, ""


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
