"""What fits where: the room on the nodes of a cluster, in whole units and device by device. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.admission import Bundle, Node

UNIT = 10_000
"""Resources are counted in ten-thousandths, as Ray counts them: ten times 0.1 is 1."""


class Need(NamedTuple):
    """A bundle in whole units: so many whole devices, or a part of one."""

    cpus: int
    memory: int
    devices: int
    part: int
    kind: str


@lru_cache(maxsize=4096)
def need_of(bundle: Bundle) -> Need:
    """Return a bundle in whole units."""
    gpus = round(bundle.gpus * UNIT)
    whole, part = (-(-gpus // UNIT), 0) if gpus >= UNIT else (0, gpus)
    return Need(round(bundle.cpus * UNIT), round(bundle.memory_gib * UNIT), whole, part, bundle.gpu_kind)


class Taken(NamedTuple):
    """What was taken of a room: it can be given back exactly."""

    cpus: int
    memory: int
    devices: tuple[tuple[int, int], ...]


@dataclass
class Room:
    """What is free on a node, device by device."""

    cpus: int
    memory: int
    devices: list[int]
    kind: str

    @classmethod
    def of(cls, node: Node) -> Room:
        """Return the room of an empty node."""
        whole, part = divmod(round(node.gpus * UNIT), UNIT)
        devices = [UNIT] * whole + ([part] if part else [])
        return cls(round(node.cpus * UNIT), round(node.memory_gib * UNIT), devices, node.gpu_kind)

    def copy(self) -> Room:
        """Return the same room, to try things in."""
        return Room(self.cpus, self.memory, self.devices.copy(), self.kind)

    def holds(self, need: Need, ranks: int) -> int:
        """Return how many of so many ranks have room here."""
        if need.cpus > self.cpus or need.memory > self.memory or (need.kind and need.kind != self.kind):
            return 0
        if need.cpus:
            ranks = min(ranks, self.cpus // need.cpus)
        if need.memory:
            ranks = min(ranks, self.memory // need.memory)
        if need.devices:
            return min(ranks, self.devices.count(UNIT) // need.devices)
        if need.part:
            return min(ranks, sum(free // need.part for free in self.devices))
        return ranks

    def missing(self, need: Need) -> float:
        """Return the largest share of the need that is not free here."""
        short = [(need.cpus - self.cpus) / need.cpus] if need.cpus else []
        short += [(need.memory - self.memory) / need.memory] if need.memory else []
        short += [1 - self.devices.count(UNIT) / need.devices] if need.devices else []
        short += [1 - max(self.devices) / need.part] if need.part else []
        return max(0.0, *short)

    def take(self, need: Need) -> Taken:
        """Take what one rank needs, or what there is of it: for a part, the device with the least room that fits."""
        order = sorted(range(len(self.devices)), key=lambda index: self.devices[index])
        devices: tuple[tuple[int, int], ...]
        if need.part and order:
            chosen = next((index for index in order if self.devices[index] >= need.part), order[-1])
            devices = ((chosen, min(need.part, self.devices[chosen])),)
        else:
            devices = tuple((index, self.devices[index]) for index in order[len(order) - need.devices :])
        taken = Taken(min(need.cpus, self.cpus), min(need.memory, self.memory), devices)
        self.add(taken, -1)
        return taken

    def add(self, taken: Taken, sign: int = 1) -> None:
        """Give back what was taken, or take the same again (-1), as far as there is of it."""
        self.cpus = max(0, self.cpus + sign * taken.cpus)
        self.memory = max(0, self.memory + sign * taken.memory)
        for index, amount in taken.devices:
            self.devices[index] = max(0, self.devices[index] + sign * amount)


class Rooms(dict[str, Room]):
    """What is free on every node, by its id."""

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        super().__init__({name: room.copy() for name, room in rooms.items()})
        self._latest: dict[Need, str] = {}

    def holds(self, need: Need, ranks: int) -> bool:
        """Return whether all these ranks have room."""
        for room in self.values():
            ranks -= room.holds(need, ranks)
            if ranks == 0:
                return True
        return False

    def place(self, need: Need, ranks: int) -> list[tuple[str, Taken]]:
        """Take room for all ranks, on few nodes and the fullest that will do; nothing where it does not reach."""
        placed: list[tuple[str, Taken]] = []
        while len(placed) < ranks:
            left = ranks - len(placed)
            name = self._best(need, left)
            if name is None:
                for taken_from, taken in placed:
                    self[taken_from].add(taken)
                return []
            placed += [(name, self[name].take(need)) for _ in range(self[name].holds(need, left))]
        return placed

    def _best(self, need: Need, ranks: int) -> str | None:
        latest = self._latest.get(need)
        if latest is not None and self[latest].holds(need, ranks) == ranks:
            return latest  # it was the fullest before, and is fuller now: a long queue is placed without a search
        found = [(held, name) for name, room in self.items() if (held := room.holds(need, ranks))]
        if not found:
            return None
        most = max(held for held, _ in found)
        self._latest[need] = min((name for held, name in found if held == most), key=self._free)
        return self._latest[need]

    def _free(self, name: str) -> tuple[int, int, int]:
        room = self[name]
        return sum(room.devices), room.cpus, room.memory
