"""Admission between the sweeps of a cluster: which trials start next. Ray has no priorities or fair share between jobs.

Priority first, then the sweep that has used the least of the cluster. The first request in that order that does not fit
reserves what becomes free, so that trials of several ranks do not starve behind small ones; the others may use what it
does not need. A `high` request that does not fit may preempt trials of lower priority. Run times are not known.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING

from orchestrator.scheduling.allocation import ClusterAllocation
from orchestrator.scheduling.resources import (
    PRIORITIES,
    AdmissionDecision,
    AdmittedTrial,
    Bundle,
    Node,
    ResourceRequest,
    SweepState,
    describe,
    describe_unplaceable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHARGED_AHEAD_SECONDS = 3600.0
"""Running trials are charged this much ahead, so that equal sweeps alternate from the start."""
SILENCE_SECONDS = 30.0
"""A sweep that has not reported for this long has lost its driver, and with it its trials."""


def decide(nodes: Sequence[Node], sweeps: Sequence[SweepState]) -> dict[str, AdmissionDecision]:
    """Return the decision on each sweep, by its name. Pure: the same reports get the same decisions."""
    cluster = ClusterAllocation(nodes, sweeps)
    turns = [_Turn(sweep, cluster, nodes) for sweep in sweeps]
    queue = [turn for turn in turns if turn.waits]
    heapq.heapify(queue)
    first_blocked: _Turn | None = None
    while queue:
        turn = queue[0]
        if not turn.in_line and (places := cluster.start(turn.head)):
            turn.start(places)
        elif turn.sweep.priority == PRIORITIES[-1] and cluster.preempt_for(turn.head):
            turn.wait()
        else:
            if first_blocked is None:
                first_blocked = turn
                cluster.reserve(turn.head)
            turn.block(first_blocked)
        if turn.waits:
            heapq.heapreplace(queue, turn)
        else:
            heapq.heappop(queue)
    stopped = {(victim.sweep, victim.key) for victim in cluster.stopped}
    return {turn.sweep.name: turn.decision(stopped) for turn in turns}


class _Turn:
    """A sweep's position in its waiting trials, `head` the next of them. The smaller turn is next."""

    def __init__(self, sweep: SweepState, cluster: ClusterAllocation, nodes: Sequence[Node]) -> None:
        self.sweep = sweep
        self._totals = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        self._impossible = tuple(dict.fromkeys(d for d, count in sweep.waiting if count and not cluster.size(d)))
        waiting = ((request, count) for request, count in sweep.waiting if request not in self._impossible)
        self._queue = chain.from_iterable(repeat(request, count) for request, count in waiting)
        self._charge = sum(self._share(trial.request) for trial in sweep.running) * CHARGED_AHEAD_SECONDS
        self.head, self.waits, self.in_line = ResourceRequest(Bundle(), rank_devices=1.0), True, False
        self._advance()
        self._charge += sweep.device_seconds / self._total(self.head)
        self._places: list[tuple[str, ...]] = []
        self._why = describe_unplaceable(self._impossible[0]) if self._impossible else ""

    def __lt__(self, other: _Turn) -> bool:
        return self._key() < other._key()

    def start(self, places: tuple[str, ...]) -> None:
        self._places.append(places)
        self._pass()

    def wait(self) -> None:
        """Skip the head, for which trials are being preempted; what follows starts after it."""
        self.in_line = True
        self._why = self._why or f"waiting for resources ({describe(self.head)}); preempting trials of lower priority"
        self._pass()

    def block(self, first: _Turn) -> None:
        """Start no more this time: the head does not fit."""
        ahead = "" if first is self else f"; sweep {first.sweep.name} is ahead"
        self._why = f"waiting for resources ({describe(self.head)}){ahead}"
        self.waits = False

    def decision(self, stopped: set[tuple[str, str]]) -> AdmissionDecision:
        keys = tuple(trial.key for trial in self.sweep.running if (self.sweep.name, trial.key) in stopped)
        why = "" if self._places else self._why
        return AdmissionDecision(len(self._places), keys, why, tuple(self._places), self._impossible)

    def _pass(self) -> None:
        self._charge += self._share(self.head) * CHARGED_AHEAD_SECONDS
        self._advance()

    def _advance(self) -> None:
        following = next(self._queue, None)
        self.waits = following is not None
        self.head = following or self.head

    def _key(self) -> tuple[int, float, str]:
        return -PRIORITIES.index(self.sweep.priority), self._charge, self.sweep.name

    def _share(self, request: ResourceRequest) -> float:
        return request.device_count / self._total(request)

    def _total(self, request: ResourceRequest) -> float:
        # Devices are GPUs where it has some, else CPUs.
        cpus, gpus = self._totals
        return (gpus if request.bundle.gpus else cpus) or 1.0


class Scheduler:
    """Takes the reports of drivers, every few seconds, and decides what each may start and must preempt.

    It keeps the last reports only, so that a new scheduler decides as the old one once all drivers have reported. For
    its first `listen_seconds`, it starts nothing.
    """

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        clock: Callable[[], float] = time.monotonic,
        listen_seconds: float = 0.0,
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._listening_until = clock() + listen_seconds
        self._reports: dict[str, tuple[float, SweepState]] = {}

    def report(self, state: SweepState, now: float | None = None) -> AdmissionDecision:
        """Take the report of one sweep, and return the decision on it."""
        now = self._clock() if now is None else now
        self._reports[state.name] = (now, state)
        self._reports = {name: item for name, item in self._reports.items() if now - item[0] <= SILENCE_SECONDS}
        if now < self._listening_until:
            return AdmissionDecision(why="waiting for other drivers to report")
        current = [_aged(sweep, now - reported) for reported, sweep in self._reports.values()]
        decision = decide(self._nodes(), current)[state.name]
        self._reports[state.name] = (now, _carried_out(state, decision))
        return decision

    def leave(self, name: str) -> None:
        """Remove a sweep that has ended."""
        self._reports.pop(name, None)


def _aged(sweep: SweepState, seconds: float) -> SweepState:
    # Otherwise the last to report has the longest run times, and two sweeps could name each other's trials in turn.
    return replace(sweep, running=tuple(replace(trial, seconds=trial.seconds + seconds) for trial in sweep.running))


def _carried_out(sweep: SweepState, decision: AdmissionDecision) -> SweepState:
    # Until its next report, the sweep is taken to have carried out the decision.
    left, waiting = decision.start, []
    started = []
    for request, count in sweep.waiting:
        starting = 0 if request in decision.impossible else min(left, count)
        started += [request] * starting
        left -= starting
        waiting.append((request, count - starting))
    running = tuple(replace(trial, stopping=trial.stopping or trial.key in decision.preempt) for trial in sweep.running)
    admitted = tuple(
        AdmittedTrial(f"admitted {number}", replace(request, ranks=len(nodes)), nodes, preemptible=False)
        for number, (request, nodes) in enumerate(zip(started, decision.places, strict=True))
    )
    return replace(sweep, running=running + admitted, waiting=tuple(waiting))
