"""Requests of trials, resources of nodes, and reports and decisions between drivers and the scheduler. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from workers.trial import Resources, Training


@dataclass(frozen=True)
class Bundle:
    """The resources of one rank, on one node. A fractional GPU is on one device; an empty `gpu_kind` allows any."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gib: float = 0.0
    gpu_kind: str = ""


@dataclass(frozen=True)
class ResourceRequest:
    """What a trial needs to start: all its ranks at once, on any nodes.

    With `min_ranks`, it starts with fewer ranks if not even the empty cluster could hold all. A rank counts as
    `rank_devices` in device-seconds.
    """

    bundle: Bundle
    ranks: int = 1
    min_ranks: int = 0
    rank_devices: float = field(kw_only=True)

    @property
    def device_count(self) -> float:
        """The devices that the trial counts as in device-seconds."""
        return self.ranks * self.rank_devices


@dataclass(frozen=True)
class Node:
    """A node with all its resources, in use or not."""

    node_id: str
    cpus: float
    gpus: float = 0.0
    memory_gib: float = 0.0
    gpu_kind: str = ""


@dataclass(frozen=True)
class AdmittedTrial:
    """A trial that holds its resources: the node of each rank (none if unknown), and the seconds since its start.

    `stopping` says that it was told to stop: its resources are about to become free.
    """

    key: str
    request: ResourceRequest
    nodes: tuple[str, ...] = ()
    seconds: float = 0.0
    preemptible: bool = True
    stopping: bool = False

    @property
    def device_seconds(self) -> float:
        """The device-seconds since its start."""
        return self.request.device_count * self.seconds


@dataclass(frozen=True)
class SweepState:
    """A driver's report: its running trials, its waiting ones in launch order as (request, count), and what it used."""

    name: str
    priority: str = "normal"
    running: tuple[AdmittedTrial, ...] = ()
    waiting: tuple[tuple[ResourceRequest, int], ...] = ()
    device_seconds: float = 0.0


@dataclass(frozen=True)
class AdmissionDecision:
    """The scheduler's decision on a sweep.

    Attributes:
        start: How many waiting trials may start, in launch order, without those in `impossible`.
        preempt: Keys of running trials that must checkpoint and stop.
        why: The reason, for people, if nothing may start.
        places: For each trial that may start, the node of each of its ranks.
        impossible: Waiting requests that not even the empty cluster could hold.
    """

    start: int = 0
    preempt: tuple[str, ...] = ()
    why: str = ""
    places: tuple[tuple[str, ...], ...] = ()
    impossible: tuple[ResourceRequest, ...] = ()


def request_of(resources: Resources, training: Training) -> ResourceRequest:
    """Return the request of a trial with these resources and this training."""
    bundle = Bundle(resources.cpus, resources.gpus, resources.memory_gib, resources.gpu_kind)
    rank_devices = resources.rank_devices(training)
    return ResourceRequest(bundle, resources.ranks, resources.min_ranks, rank_devices=rank_devices)


def describe(request: ResourceRequest) -> str:
    """Return a request in words, such as "2 ranks of 4 CPU, 1 GPU"."""
    bundle = request.bundle
    kind = f" ({bundle.gpu_kind})" if bundle.gpu_kind else ""
    parts = [f"{bundle.cpus:g} CPU"] if bundle.cpus else []
    parts += [f"{bundle.gpus:g} GPU{kind}"] if bundle.gpus else []
    parts += [f"{bundle.memory_gib:g} GiB of memory"] if bundle.memory_gib else []
    ranks = f"{request.ranks} ranks of " if request.ranks > 1 else ""
    return ranks + ", ".join(parts)


def describe_unplaceable(request: ResourceRequest) -> str:
    """Return in words that not even the empty cluster could hold a request."""
    if request.ranks == 1:
        return f"no node has {describe(request)}"
    fewest = f" or at least {request.min_ranks} of them" if request.min_ranks else ""
    return f"the nodes together cannot hold {describe(request)}{fewest}"


Priority = Literal["low", "normal", "high"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
