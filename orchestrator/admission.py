"""Who starts next, between the sweeps of one cluster. Ray has neither priorities nor fair share between jobs.

Priority first; among equals, the sweep that used the least of the cluster. The first demand in that order that does not
fit keeps what becomes free, so that a gang does not starve behind small trials; the others may use what it does not
need. A `high` demand that does not fit may have trials of lower priority stopped. Run times are not known here.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING

from orchestrator.occupancy import PRIORITIES, Occupancy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHARGED_AHEAD_SECONDS = 3600.0
"""What runs counts as if it had used its devices for so much longer, so that equal sweeps take turns from the start."""
SILENCE_SECONDS = 30.0
"""A sweep that has not reported for so long has lost its driver, and with it its trials."""


@dataclass(frozen=True)
class Bundle:
    """What one rank holds on one node. An empty `gpu_kind` takes any; a part of a GPU lies on one device."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gib: float = 0.0
    gpu_kind: str = ""


@dataclass(frozen=True)
class Demand:
    """What one trial needs to start: all its ranks at once, several on one node or not.

    A demand with `least_ranks` starts smaller where even the empty cluster has no room for all `ranks`.
    """

    bundle: Bundle
    ranks: int = 1
    least_ranks: int = 0


@dataclass(frozen=True)
class Node:
    """A node with all that it has, in use or not."""

    node_id: str
    cpus: float
    gpus: float = 0.0
    memory_gib: float = 0.0
    gpu_kind: str = ""


@dataclass(frozen=True)
class Running:
    """A trial that holds its resources: the node of each rank (none where unknown), and the seconds since its start.

    `stopping` says that it was told to stop: its room is about to become free, and nobody is stopped for it again.
    """

    key: str
    demand: Demand
    nodes: tuple[str, ...] = ()
    seconds: float = 0.0
    preemptible: bool = True
    stopping: bool = False


@dataclass(frozen=True)
class SweepState:
    """A sweep: what runs, what waits in launch order as (demand, how many), what all its attempts have used."""

    name: str
    priority: str = "normal"
    running: tuple[Running, ...] = ()
    waiting: tuple[tuple[Demand, int], ...] = ()
    device_seconds: float = 0.0


@dataclass(frozen=True)
class Grant:
    """What a sweep may do now.

    Attributes:
        start: How many of the waiting may start, in launch order, passing over those in `impossible`.
        preempt: Keys of its running trials that must save and stop.
        why: For people, if nothing may start.
        places: For each that may start, the node of each rank: as many ranks as it starts with.
        impossible: Waiting demands that not even the empty cluster could hold.
    """

    start: int = 0
    preempt: tuple[str, ...] = ()
    why: str = ""
    places: tuple[tuple[str, ...], ...] = ()
    impossible: tuple[Demand, ...] = ()


def decide(nodes: Sequence[Node], sweeps: Sequence[SweepState]) -> dict[str, Grant]:
    """Return what each sweep may do now, by its name. Pure: the same reports get the same answer."""
    cluster = Occupancy(nodes, sweeps)
    turns = [_Turn(sweep, cluster, nodes) for sweep in sweeps]
    queue = [turn for turn in turns if turn.waits]
    heapq.heapify(queue)
    first_blocked: _Turn | None = None
    while queue:
        turn = queue[0]
        if not turn.in_line and (places := cluster.start(turn.head)):
            turn.start(places)
        elif turn.sweep.priority == PRIORITIES[-1] and cluster.make_room(turn.head):
            turn.wait()
        else:
            if first_blocked is None:
                first_blocked = turn
                cluster.keep_free(turn.head)
            turn.block(first_blocked)
        if turn.waits:
            heapq.heapreplace(queue, turn)
        else:
            heapq.heappop(queue)
    stopped = {(victim.sweep, victim.key) for victim in cluster.stopped}
    return {turn.sweep.name: turn.grant(stopped) for turn in turns}


class _Turn:
    """A sweep's way through its waiting trials, `head` the next of them. Turns are compared by who is next."""

    def __init__(self, sweep: SweepState, cluster: Occupancy, nodes: Sequence[Node]) -> None:
        self.sweep = sweep
        self._totals = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        self._impossible = tuple(dict.fromkeys(d for d, count in sweep.waiting if count and not cluster.size(d)))
        waiting = ((demand, count) for demand, count in sweep.waiting if demand not in self._impossible)
        self._queue = chain.from_iterable(repeat(demand, count) for demand, count in waiting)
        self._charge = sum(self._share(trial.demand) for trial in sweep.running) * CHARGED_AHEAD_SECONDS
        self.head, self.waits, self.in_line = Demand(Bundle()), True, False
        self._advance()
        self._charge += sweep.device_seconds / self._total(self.head)
        self._places: list[tuple[str, ...]] = []
        self._why = f"no node has {_words(self._impossible[0])}" if self._impossible else ""

    def __lt__(self, other: _Turn) -> bool:
        return self._key() < other._key()

    def start(self, places: tuple[str, ...]) -> None:
        self._places.append(places)
        self._pass()

    def wait(self) -> None:
        """Pass over the head: room is being made for it, and what follows stays behind it."""
        self.in_line = True
        self._why = self._why or f"{_words(self.head)}: waits for trials of lower priority to save and stop"
        self._pass()

    def block(self, first: _Turn) -> None:
        """Start no more this time: the head has no room."""
        before = "" if first is self else f"; {first.sweep.name} is before it"
        self._why = f"waits for room: {_words(self.head)}{before}"
        self.waits = False

    def grant(self, stopped: set[tuple[str, str]]) -> Grant:
        keys = tuple(trial.key for trial in self.sweep.running if (self.sweep.name, trial.key) in stopped)
        why = "" if self._places else self._why
        return Grant(len(self._places), keys, why, tuple(self._places), self._impossible)

    def _pass(self) -> None:
        self._charge += self._share(self.head) * CHARGED_AHEAD_SECONDS
        self._advance()

    def _advance(self) -> None:
        following = next(self._queue, None)
        self.waits = following is not None
        self.head = following or self.head

    def _key(self) -> tuple[int, float, str]:
        return -PRIORITIES.index(self.sweep.priority), self._charge, self.sweep.name

    def _share(self, demand: Demand) -> float:
        return demand.ranks * (demand.bundle.gpus or demand.bundle.cpus) / self._total(demand)

    def _total(self, demand: Demand) -> float:
        # Devices are GPUs where it has some, else CPUs.
        cpus, gpus = self._totals
        return (gpus if demand.bundle.gpus else cpus) or 1.0


def _words(demand: Demand) -> str:
    bundle = demand.bundle
    kind = f" of kind {bundle.gpu_kind}" if bundle.gpu_kind else ""
    parts = [f"{bundle.cpus:g} CPU"] if bundle.cpus else []
    parts += [f"{bundle.gpus:g} GPU{kind}"] if bundle.gpus else []
    parts += [f"{bundle.memory_gib:g} GiB"] if bundle.memory_gib else []
    ranks = f"{demand.ranks} ranks of " if demand.ranks > 1 else ""
    return ranks + ", ".join(parts)


class Desk:
    """Where drivers report their sweeps, every few seconds, and are told what they may start and must stop.

    It remembers the last reports only: a new desk that has heard from everyone answers as the old one. Until it can
    have heard from everyone (`listen_seconds`), it grants nothing.
    """

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        clock: Callable[[], float] = time.monotonic,
        listen_seconds: float = 0.0,
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._listens_until = clock() + listen_seconds
        self._reports: dict[str, tuple[float, SweepState]] = {}

    def report(self, state: SweepState, now: float | None = None) -> Grant:
        """Take the state of one sweep, and return what it may do now."""
        now = self._clock() if now is None else now
        self._reports[state.name] = (now, state)
        self._reports = {name: item for name, item in self._reports.items() if now - item[0] <= SILENCE_SECONDS}
        if now < self._listens_until:
            return Grant(why="waits to hear what the other sweeps run")
        current = [_aged(sweep, now - reported) for reported, sweep in self._reports.values()]
        grant = decide(self._nodes(), current)[state.name]
        self._reports[state.name] = (now, _obeyed(state, grant))
        return grant

    def leave(self, name: str) -> None:
        """Forget a sweep that has ended."""
        self._reports.pop(name, None)


def _aged(sweep: SweepState, seconds: float) -> SweepState:
    # Else whoever reported last looks the most advanced, and two sweeps could point at each other's trials for ever.
    return replace(sweep, running=tuple(replace(trial, seconds=trial.seconds + seconds) for trial in sweep.running))


def _obeyed(sweep: SweepState, grant: Grant) -> SweepState:
    # Until its next report, the sweep stands as one that has done what it was told.
    left, waiting = grant.start, []
    started = []
    for demand, count in sweep.waiting:
        taken = 0 if demand in grant.impossible else min(left, count)
        started += [demand] * taken
        left -= taken
        waiting.append((demand, count - taken))
    running = tuple(replace(trial, stopping=trial.stopping or trial.key in grant.preempt) for trial in sweep.running)
    granted = tuple(
        Running(f"granted {number}", replace(demand, ranks=len(nodes)), nodes, preemptible=False)
        for number, (demand, nodes) in enumerate(zip(started, grant.places, strict=True))
    )
    return replace(sweep, running=running + granted, waiting=tuple(waiting))
