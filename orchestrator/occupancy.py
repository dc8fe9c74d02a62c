"""The room on a cluster now, and once those told to stop have stopped; and whom to stop, where that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.rooms import Room, Rooms, need_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.admission import Demand, Node, SweepState
    from orchestrator.rooms import Need, Taken

PRIORITIES = ("low", "normal", "high")
MOST_RANKS = 1_000_000
"""More than any node holds."""


class Victim(NamedTuple):
    """A trial that may be stopped, ordered by what is lost with it."""

    priority: int
    seconds: float
    sweep: str
    key: str


class Choice(NamedTuple):
    """Whom to stop on a node: low priority before normal, then as few as possible, then those that ran the shortest."""

    priorities: int
    trials: int
    seconds: float
    victims: tuple[Victim, ...]


class Occupancy:
    """The room there is now, and the room there will be when those that were told to stop have stopped."""

    def __init__(self, nodes: Sequence[Node], sweeps: Sequence[SweepState]) -> None:
        self.stopped: set[Victim] = set()
        self._empty = Rooms({node.node_id: Room.of(node) for node in nodes})
        self._now = Rooms(self._empty)
        self._full: set[Demand] = set()
        self._sizes: dict[Demand, int] = {}
        self._held: dict[Victim, list[tuple[str, Taken]]] = {}
        self._candidates: dict[str, list[Victim]] = {node.node_id: [] for node in nodes}
        self._choices: dict[str, dict[Need, Choice | None]] = {}
        self._soon = self._seat(sweeps)

    def size(self, demand: Demand) -> int:
        """Return how many ranks the demand starts with: what the empty cluster could hold, 0 where that is too few."""
        if demand not in self._sizes:
            need, empty = need_of(demand.bundle), Rooms(self._empty)
            sizes = range(demand.ranks, (demand.least_ranks or demand.ranks) - 1, -1)
            self._sizes[demand] = next((ranks for ranks in sizes if empty.holds(need, ranks)), 0)
        return self._sizes[demand]

    def start(self, demand: Demand) -> tuple[str, ...]:
        """Take the room for all ranks, and return their nodes; empty where it does not fit now."""
        if demand in self._full:
            return ()
        placed = self._now.place(need_of(demand.bundle), self.size(demand))
        if not placed:
            self._full.add(demand)  # while deciding, room only gets less
        for name, taken in placed:
            self._change(name, taken, -1)
        return tuple(name for name, _ in placed)

    def make_room(self, demand: Demand) -> bool:
        """Keep room for the demand from what is stopping, stopping as few more as it takes; False: none of it helps."""
        need, ranks = need_of(demand.bundle), self.size(demand)
        victims: list[Victim] = []
        while not self._soon.holds(need, ranks):
            choices = [choice for name in self._soon if (choice := self._choice(name, need))]
            if not choices:
                for victim in victims:
                    self._stop(victim, -1)
                return False
            cheapest = min(choices).victims
            for victim in cheapest:
                self._stop(victim)
            victims += cheapest
        for victim in sorted(victims, reverse=True)[: len(victims) if len(victims) > 1 else 0]:
            self._stop(victim, -1)  # a later rank may have made an earlier choice needless
            if not self._soon.holds(need, ranks):
                self._stop(victim)
        for name, _ in self._soon.place(need, ranks):
            self._choices.pop(name, None)
            self._now[name].take(need)
        return True

    def keep_free(self, demand: Demand) -> None:
        """Withhold what the demand will start on: the nodes with the least to wait for."""
        need, could_hold = need_of(demand.bundle), Rooms(self._empty)
        for _ in range(self.size(demand)):
            fitting = (name for name, room in could_hold.items() if room.holds(need, 1))
            name = min(fitting, key=lambda name: self._soon[name].missing(need))
            for rooms in (could_hold, self._soon, self._now):
                rooms[name].take(need)
            self._choices.pop(name, None)

    def _seat(self, sweeps: Sequence[SweepState]) -> Rooms:
        # Those whose nodes are unknown go where they fit best; a rank whose node is gone holds nothing.
        stopping = []
        trials = [(sweep, trial) for sweep in sweeps for trial in sweep.running]
        for sweep, trial in sorted(trials, key=lambda item: not item[1].nodes):
            need = need_of(trial.demand.bundle)
            known = [name for name in trial.nodes if name in self._now]
            held = [(name, self._now[name].take(need)) for name in known]
            held = held or ([] if trial.nodes else self._now.place(need, trial.demand.ranks))
            if trial.stopping:
                stopping += held
            elif trial.preemptible and held and sweep.priority != PRIORITIES[-1]:
                victim = Victim(PRIORITIES.index(sweep.priority), trial.seconds, sweep.name, trial.key)
                self._held[victim] = held
                for name in {name for name, _ in held}:
                    self._candidates[name].append(victim)
        soon = Rooms(self._now)
        for name, taken in stopping:
            soon[name].add(taken)
        return soon

    def _choice(self, name: str, need: Need) -> Choice | None:
        # The victims on this node that make room for one rank more; None where none do.
        choices = self._choices.setdefault(name, {})
        if need not in choices:
            choices[need] = self._search(name, need)
        return choices[need]

    def _search(self, name: str, need: Need) -> Choice | None:
        room, chosen = self._soon[name].copy(), []
        enough = room.holds(need, MOST_RANKS) + 1
        for victim in sorted(victim for victim in self._candidates[name] if victim not in self.stopped):
            self._move(room, name, victim, 1)
            chosen.append(victim)
            if room.holds(need, enough) == enough:
                break
        else:
            return None
        for victim in chosen[-2::-1]:
            self._move(room, name, victim, -1)
            if room.holds(need, enough) == enough:
                chosen.remove(victim)
            else:
                self._move(room, name, victim, 1)
        priorities, seconds = sum(victim.priority for victim in chosen), sum(victim.seconds for victim in chosen)
        return Choice(priorities, len(chosen), seconds, tuple(chosen))

    def _move(self, room: Room, name: str, victim: Victim, sign: int) -> None:
        for held_on, taken in self._held[victim]:
            if held_on == name:
                room.add(taken, sign)

    def _stop(self, victim: Victim, sign: int = 1) -> None:
        (self.stopped.add if sign > 0 else self.stopped.remove)(victim)
        for name, taken in self._held[victim]:
            self._change(name, taken, sign)

    def _change(self, name: str, taken: Taken, sign: int) -> None:
        self._soon[name].add(taken, sign)
        self._choices.pop(name, None)
