"""Capacity of nodes and of clusters, in integer units and device by device. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.scheduling.resources import Bundle, Node

UNIT = 10_000
"""Resources are counted in ten-thousandths, as Ray does: ten times 0.1 is 1."""


class BundleSize(NamedTuple):
    """A bundle in integer units: whole devices, or a part of one."""

    cpus: int
    memory: int
    devices: int
    part: int
    kind: str


@lru_cache(maxsize=4096)
def size_of(bundle: Bundle) -> BundleSize:
    """Return a bundle in integer units."""
    gpus = round(bundle.gpus * UNIT)
    whole, part = (-(-gpus // UNIT), 0) if gpus >= UNIT else (0, gpus)
    return BundleSize(round(bundle.cpus * UNIT), round(bundle.memory_gib * UNIT), whole, part, bundle.gpu_kind)


class Allocation(NamedTuple):
    """Resources taken from a node, to be given back exactly."""

    cpus: int
    memory: int
    devices: tuple[tuple[int, int], ...]


@dataclass
class NodeCapacity:
    """The free resources of a node, device by device."""

    cpus: int
    memory: int
    devices: list[int]
    kind: str

    @classmethod
    def of(cls, node: Node) -> NodeCapacity:
        """Return the capacity of an empty node."""
        whole, part = divmod(round(node.gpus * UNIT), UNIT)
        devices = [UNIT] * whole + ([part] if part else [])
        return cls(round(node.cpus * UNIT), round(node.memory_gib * UNIT), devices, node.gpu_kind)

    def copy(self) -> NodeCapacity:
        """Return a copy."""
        return NodeCapacity(self.cpus, self.memory, self.devices.copy(), self.kind)

    def holds(self, size: BundleSize, ranks: int) -> int:
        """Return how many of these ranks fit here."""
        if size.cpus > self.cpus or size.memory > self.memory or (size.kind and size.kind != self.kind):
            return 0
        if size.cpus:
            ranks = min(ranks, self.cpus // size.cpus)
        if size.memory:
            ranks = min(ranks, self.memory // size.memory)
        if size.devices:
            return min(ranks, self.devices.count(UNIT) // size.devices)
        if size.part:
            return min(ranks, sum(free // size.part for free in self.devices))
        return ranks

    def missing(self, size: BundleSize) -> float:
        """Return the largest share of a resource of the bundle that is not free here."""
        short = [(size.cpus - self.cpus) / size.cpus] if size.cpus else []
        short += [(size.memory - self.memory) / size.memory] if size.memory else []
        short += [1 - self.devices.count(UNIT) / size.devices] if size.devices else []
        short += [1 - max(self.devices) / size.part] if size.part else []
        return max(0.0, *short)

    def take(self, size: BundleSize) -> Allocation:
        """Take a bundle, or as much of it as is free; for a part of a device, the fullest one that fits."""
        devices: tuple[tuple[int, int], ...] = ()
        if size.devices:
            order = sorted(range(len(self.devices)), key=self.devices.__getitem__, reverse=True)
            devices = tuple((index, self.devices[index]) for index in order[: size.devices])
        elif size.part and self.devices:
            fitting = [free for free in self.devices if free >= size.part]
            free = min(fitting) if fitting else max(self.devices)
            devices = ((self.devices.index(free), min(size.part, free)),)
        allocation = Allocation(min(size.cpus, self.cpus), min(size.memory, self.memory), devices)
        self.add(allocation, -1)
        return allocation

    def add(self, allocation: Allocation, sign: int = 1) -> None:
        """Give an allocation back, or take it again (`sign` -1), as far as it is free."""
        self.cpus = max(0, self.cpus + sign * allocation.cpus)
        self.memory = max(0, self.memory + sign * allocation.memory)
        for index, amount in allocation.devices:
            self.devices[index] = max(0, self.devices[index] + sign * amount)


class ClusterCapacity(dict[str, NodeCapacity]):
    """The free resources of every node, by its id."""

    def __init__(self, capacities: Mapping[str, NodeCapacity]) -> None:
        super().__init__({name: capacity.copy() for name, capacity in capacities.items()})
        self._latest: dict[BundleSize, str] = {}

    def holds(self, size: BundleSize, ranks: int) -> bool:
        """Return whether all these ranks fit."""
        for capacity in self.values():
            ranks -= capacity.holds(size, ranks)
            if ranks == 0:
                return True
        return False

    def place(self, size: BundleSize, ranks: int) -> list[tuple[str, Allocation]]:
        """Place all ranks, on few nodes and the fullest that fit; places none if not all fit."""
        placed: list[tuple[str, Allocation]] = []
        while len(placed) < ranks:
            left = ranks - len(placed)
            name = self._best(size, left)
            if name is None:
                for taken_from, allocation in placed:
                    self[taken_from].add(allocation)
                return []
            placed += [(name, self[name].take(size)) for _ in range(self[name].holds(size, left))]
        return placed

    def _best(self, size: BundleSize, ranks: int) -> str | None:
        latest = self._latest.get(size)
        if latest is not None and self[latest].holds(size, ranks) == ranks:
            return latest  # it was the fullest, and is fuller now: no search is needed for a long queue
        found = [(held, name) for name, capacity in self.items() if (held := capacity.holds(size, ranks))]
        if not found:
            return None
        most = max(held for held, _ in found)
        self._latest[size] = min((name for held, name in found if held == most), key=self._free)
        return self._latest[size]

    def _free(self, name: str) -> tuple[int, int, int]:
        capacity = self[name]
        return sum(capacity.devices), capacity.cpus, capacity.memory
