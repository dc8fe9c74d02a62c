"""The allocation of a cluster now and after running preemptions, and the choice of trials to preempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.scheduling.capacity import ClusterCapacity, NodeCapacity, size_of
from orchestrator.scheduling.resources import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.scheduling.capacity import Allocation, BundleSize
    from orchestrator.scheduling.resources import Node, ResourceRequest, SweepState

MOST_RANKS = 1_000_000
"""More than fit on any node."""


class Victim(NamedTuple):
    """A trial that may be preempted, ordered by what is lost with it."""

    priority: int
    seconds: float
    sweep: str
    key: str


class NodeVictims(NamedTuple):
    """Victims on one node, ordered: low priority before normal, then few of them, then short run times."""

    priorities: int
    trials: int
    seconds: float
    victims: tuple[Victim, ...]


class ClusterAllocation:
    """The free capacity now, and the free capacity once all trials that were told to stop have stopped."""

    def __init__(self, nodes: Sequence[Node], sweeps: Sequence[SweepState]) -> None:
        self.stopped: set[Victim] = set()
        self._empty = ClusterCapacity({node.node_id: NodeCapacity.of(node) for node in nodes})
        self._now = ClusterCapacity(self._empty)
        self._full: set[ResourceRequest] = set()
        self._sizes: dict[ResourceRequest, int] = {}
        self._held: dict[Victim, list[tuple[str, Allocation]]] = {}
        self._candidates: dict[str, list[Victim]] = {node.node_id: [] for node in nodes}
        self._victims_cache: dict[str, dict[BundleSize, NodeVictims | None]] = {}
        self._soon = self._place_running(sweeps)

    def size(self, request: ResourceRequest) -> int:
        """Return how many ranks a request starts with: those the empty cluster could hold, 0 if too few."""
        if request not in self._sizes:
            size = size_of(request.bundle)
            sizes = range(request.ranks, (request.min_ranks or request.ranks) - 1, -1)
            self._sizes[request] = next((ranks for ranks in sizes if self._empty.holds(size, ranks)), 0)
        return self._sizes[request]

    def start(self, request: ResourceRequest) -> tuple[str, ...]:
        """Allocate all ranks, and return their nodes; empty if they do not fit now."""
        if request in self._full:
            return ()
        placed = self._now.place(size_of(request.bundle), self.size(request))
        if not placed:
            self._full.add(request)  # during one decision, free capacity only shrinks
        for name, allocation in placed:
            self._change(name, allocation, -1)
        return tuple(name for name, _ in placed)

    def preempt_for(self, request: ResourceRequest) -> bool:
        """Reserve for the request what is stopping, and stop as few more trials as it needs; False if none helps."""
        size, ranks = size_of(request.bundle), self.size(request)
        victims: list[Victim] = []
        while not self._soon.holds(size, ranks):
            choices = [choice for name in self._soon if (choice := self._victims_on(name, size))]
            if not choices:
                for victim in victims:
                    self._stop(victim, -1)
                return False
            cheapest = min(choices).victims
            for victim in cheapest:
                self._stop(victim)
            victims += cheapest
        for victim in sorted(victims, reverse=True)[: len(victims) if len(victims) > 1 else 0]:
            self._stop(victim, -1)  # a choice for a later rank may replace an earlier one
            if not self._soon.holds(size, ranks):
                self._stop(victim)
        for name, _ in self._soon.place(size, ranks):
            self._victims_cache.pop(name, None)
            self._now[name].take(size)
        return True

    def reserve(self, request: ResourceRequest) -> None:
        """Reserve the nodes that need the fewest more resources for the request."""
        size, could_hold = size_of(request.bundle), ClusterCapacity(self._empty)
        for _ in range(self.size(request)):
            fitting = (name for name, capacity in could_hold.items() if capacity.holds(size, 1))
            name = min(fitting, key=lambda name: self._soon[name].missing(size))
            for capacities in (could_hold, self._soon, self._now):
                capacities[name].take(size)
            self._victims_cache.pop(name, None)

    def _place_running(self, sweeps: Sequence[SweepState]) -> ClusterCapacity:
        # Trials of unknown nodes go where they fit best; a rank whose node is gone holds nothing.
        stopping = []
        trials = [(sweep, trial) for sweep in sweeps for trial in sweep.running]
        for sweep, trial in sorted(trials, key=lambda item: not item[1].nodes):
            size = size_of(trial.request.bundle)
            known = [name for name in trial.nodes if name in self._now]
            held = [(name, self._now[name].take(size)) for name in known]
            held = held or ([] if trial.nodes else self._now.place(size, trial.request.ranks))
            if trial.stopping:
                stopping += held
            elif trial.preemptible and held and sweep.priority != PRIORITIES[-1]:
                victim = Victim(PRIORITIES.index(sweep.priority), trial.seconds, sweep.name, trial.key)
                self._held[victim] = held
                for name in {name for name, _ in held}:
                    self._candidates[name].append(victim)
        soon = ClusterCapacity(self._now)
        for name, allocation in stopping:
            soon[name].add(allocation)
        return soon

    def _victims_on(self, name: str, size: BundleSize) -> NodeVictims | None:
        # The victims on this node that free enough for one rank more; None if no choice does.
        cache = self._victims_cache.setdefault(name, {})
        if size not in cache:
            cache[size] = self._search(name, size)
        return cache[size]

    def _search(self, name: str, size: BundleSize) -> NodeVictims | None:
        capacity, chosen = self._soon[name].copy(), []
        enough = capacity.holds(size, MOST_RANKS) + 1
        for victim in sorted(victim for victim in self._candidates[name] if victim not in self.stopped):
            self._move(capacity, name, victim, 1)
            chosen.append(victim)
            if capacity.holds(size, enough) == enough:
                break
        else:
            return None
        for victim in chosen[-2::-1]:
            self._move(capacity, name, victim, -1)
            if capacity.holds(size, enough) == enough:
                chosen.remove(victim)
            else:
                self._move(capacity, name, victim, 1)
        priorities, seconds = sum(victim.priority for victim in chosen), sum(victim.seconds for victim in chosen)
        return NodeVictims(priorities, len(chosen), seconds, tuple(chosen))

    def _move(self, capacity: NodeCapacity, name: str, victim: Victim, sign: int) -> None:
        for held_on, allocation in self._held[victim]:
            if held_on == name:
                capacity.add(allocation, sign)

    def _stop(self, victim: Victim, sign: int = 1) -> None:
        (self.stopped.add if sign > 0 else self.stopped.remove)(victim)
        for name, allocation in self._held[victim]:
            self._change(name, allocation, sign)

    def _change(self, name: str, allocation: Allocation, sign: int) -> None:
        self._soon[name].add(allocation, sign)
        self._victims_cache.pop(name, None)
