"""A day of mixed sweeps on 200 simulated GPUs: this project's order and admission, against Ray's plain order.

A replay of events: sweeps arrive, most of them in working hours, until they ask for 95 % of the cluster's day. The
first policy is the real `decide`, asked every two seconds as drivers ask it. A preempted trial loses what it did since
its last checkpoint (one every five minutes; the product saves when it is told to stop, and loses less), and its next
start takes half a minute.

Ray's plain order is modelled as what drivers without a desk would get: each asks for all its trials at once, as one
placement group a trial. Ray keeps pending groups in the order of request, and puts one that does not fit back with a
delay of 0.1 to 1 s; so, to a second, the oldest request that fits is placed. It knows no priority, no share, no
preemption, and keeps nothing free for a gang. Modelled in its favour: retries are instant, and bundles are packed best
fit. Gangs are whole in both.

No run times are told to either policy. The bound on the makespan holds for every policy: no trial ends before it
arrives and runs, and what arrives after any moment must be done after it.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.scheduling.admission import decide
from orchestrator.scheduling.capacity import ClusterCapacity, NodeCapacity, size_of
from orchestrator.scheduling.resources import AdmittedTrial, Bundle, Node, ResourceRequest, SweepState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NODES = tuple(Node(f"node-{number}", cpus=64, gpus=8, memory_gib=1024) for number in range(25))
GPUS = 200
DAY = 86_400.0
LOAD = 0.95
SEEDS = range(3)
REPORT_SECONDS = 2.0
CHECKPOINT_SECONDS = 300.0
STOP_SECONDS = 20.0
RESTART_SECONDS = 30.0


@dataclass
class Job:
    """A trial: what it needs, how long it runs, what is left of it, and when it started first."""

    key: str
    demand: ResourceRequest
    seconds: float
    left: float = 0.0
    first_start: float = -1.0
    started: float = 0.0
    restart: float = 0.0
    attempt: int = 0
    stopping: bool = False
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.left = self.seconds

    @property
    def gpus(self) -> float:
        """GPUs of all ranks."""
        return self.demand.ranks * self.demand.bundle.gpus


@dataclass
class Sweep:
    """Trials submitted together; `used` are device-seconds of attempts that ended."""

    name: str
    kind: str
    priority: str
    arrival: float
    jobs: list[Job]
    used: float = 0.0
    end: float = 0.0
    waiting: deque[Job] = field(default_factory=deque)
    running: dict[str, Job] = field(default_factory=dict)

    @property
    def alone(self) -> float:
        """The least seconds it would take with the cluster to itself."""
        return max(*(job.seconds for job in self.jobs), sum(job.gpus * job.seconds for job in self.jobs) / GPUS)

    @property
    def slowdown(self) -> float:
        """How many times as long as alone it took, waiting included."""
        return (self.end - self.arrival) / self.alone


class Answer(NamedTuple):
    """What a sweep may do: the nodes of each trial that starts, and the keys of those that must stop."""

    places: Sequence[tuple[str, ...]]
    preempt: Sequence[str] = ()


@dataclass
class Day:
    """What came of a day under one policy."""

    sweeps: list[Sweep]
    makespan: float = 0.0
    used_while_wanted: float = 0.0
    wanted: float = 0.0
    preemptions: int = 0
    lost: float = 0.0


def run() -> None:
    """Print what came of each seed's day under both policies: the mean over the seeds and the range."""
    started = time.perf_counter()
    print(f"{GPUS} GPUs on {len(NODES)} nodes, {LOAD:.0%} of a day asked for, {len(SEEDS)} seeds; mean (range)")
    columns = {
        "order and admission": [_figures(replay(draw(seed), ours)) for seed in SEEDS],
        "Ray's plain order": [_figures(replay(draw(seed), plain)) for seed in SEEDS],
    }
    print(f"{'':44}" + "".join(f"{title:>30}" for title in columns))
    for name in next(iter(columns.values()))[0]:
        cells = [_cell([figures[name] for figures in days]) for days in columns.values()]
        print(f"{name:44}" + "".join(f"{cell:>30}" for cell in cells))
    print(f"{time.perf_counter() - started:.0f} s")


def draw(seed: int) -> list[Sweep]:
    """Return a day's sweeps, by arrival."""
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    sweeps, asked = [], 0.0
    while asked < LOAD * GPUS * DAY:
        kind = chance.choices(["single", "sweep", "gang", "half"], [0.55, 0.2, 0.15, 0.1])[0]
        priority = chance.choices(["low", "normal", "high"], [0.25, 0.65, 0.1])[0]
        hour = chance.triangular(0, 24, 14) if chance.random() < 0.7 else chance.uniform(0, 24)
        name = f"{kind}-{len(sweeps)}"
        sweep = Sweep(name, kind, priority, hour * 3600, _jobs(chance, name, kind, priority))
        sweeps.append(sweep)
        asked += sum(job.gpus * job.seconds for job in sweep.jobs)
    return sorted(sweeps, key=lambda sweep: sweep.arrival)


def _jobs(chance: random.Random, name: str, kind: str, priority: str) -> list[Job]:
    low, high, least, most = {
        "single": (10, 120, 1, 1),
        "sweep": (5, 180, 20, 100),
        "gang": (20, 240, 2, 12),
        "half": (5, 40, 20, 60),
    }[kind]
    count = chance.randint(least, most)
    if priority == "high":
        count = -(-count // 5)
    typical = 60 * low * (high / low) ** chance.random()
    demand = _request(Bundle(cpus=4, gpus=1, memory_gib=64))
    if kind == "half":
        demand = _request(Bundle(cpus=2, gpus=0.5, memory_gib=32))
    elif kind == "gang":
        ranks = chance.choice([2, 4, 8])
        whole_node = ranks == 8 and chance.random() < 0.5
        demand = _request(Bundle(32, 8, 512)) if whole_node else _request(Bundle(4, 1, 64), ranks)
    seconds = sorted((typical * chance.uniform(0.7, 1.3) for _ in range(count)), reverse=True)
    return [Job(f"{name}/{number}", demand, length) for number, length in enumerate(seconds)]


def _request(bundle: Bundle, ranks: int = 1) -> ResourceRequest:
    return ResourceRequest(bundle, ranks, rank_devices=bundle.gpus)


def replay(sweeps: list[Sweep], policy: Callable[[float, Sequence[Sweep]], dict[str, Answer]]) -> Day:
    """Play the arrivals and ends of trials, asking the policy at every report that has news."""
    day, now, active = Day(sweeps), 0.0, {}
    events: list[tuple[float, int, Sweep, Job | None, int]] = []
    for sweep in sweeps:
        heapq.heappush(events, (sweep.arrival, len(events), sweep, None, 0))
    count = len(events)
    while events:
        tick = math.ceil(events[0][0] / REPORT_SECONDS) * REPORT_SECONDS
        _measure(day, active.values(), tick - now)
        now = tick
        while events and events[0][0] <= now:
            at, _, sweep, job, attempt = heapq.heappop(events)
            if job is None:
                active[sweep.name] = sweep
                sweep.waiting.extend(sweep.jobs)
            elif job.attempt == attempt:
                _leave(day, sweep, job, at)
                if not sweep.waiting and not sweep.running:
                    sweep.end = day.makespan = now
                    del active[sweep.name]
        for name, answer in policy(now, list(active.values())).items():
            sweep = active[name]
            for key in answer.preempt:
                sweep.running[key].stopping = True
                heapq.heappush(
                    events, (now + STOP_SECONDS, count, sweep, sweep.running[key], sweep.running[key].attempt)
                )
                count += 1
            for nodes in answer.places:
                job = _start(sweep, nodes, now)
                heapq.heappush(events, (now + job.restart + job.left, count, sweep, job, job.attempt))
                count += 1
    return day


def _start(sweep: Sweep, nodes: tuple[str, ...], now: float) -> Job:
    job = sweep.waiting.popleft()
    sweep.running[job.key] = job
    job.places, job.started, job.restart = nodes, now, RESTART_SECONDS if job.attempt else 0.0
    job.first_start = job.first_start if job.attempt else now
    job.attempt += 1
    return job


def _leave(day: Day, sweep: Sweep, job: Job, now: float) -> None:
    # It has ended, or stopped before its end: then what it did since its last checkpoint is to be done again.
    del sweep.running[job.key]
    held = now - job.started
    sweep.used += job.gpus * held
    if job.stopping and held < job.restart + job.left:
        kept = max(0.0, held - job.restart) // CHECKPOINT_SECONDS * CHECKPOINT_SECONDS
        day.preemptions += 1
        day.lost += job.gpus * (held - kept + RESTART_SECONDS)
        job.left -= kept
        sweep.waiting.appendleft(job)
    job.attempt += 1
    job.stopping = False


def _measure(day: Day, active: Iterable[Sweep], seconds: float) -> None:
    active = list(active)
    if any(sweep.waiting for sweep in active):
        held = sum(job.gpus for sweep in active for job in sweep.running.values())
        day.wanted += GPUS * seconds
        day.used_while_wanted += held * seconds


def ours(now: float, sweeps: Sequence[Sweep]) -> dict[str, Answer]:
    """Ask `decide`."""
    grants = decide(NODES, [_state(now, sweep) for sweep in sweeps])
    return {name: Answer(grant.places, grant.preempt) for name, grant in grants.items() if grant.start or grant.preempt}


def _state(now: float, sweep: Sweep) -> SweepState:
    running = tuple(
        AdmittedTrial(job.key, job.demand, job.places, now - job.started, stopping=job.stopping)
        for job in sweep.running.values()
    )
    waiting = ((sweep.waiting[0].demand, len(sweep.waiting)),) if sweep.waiting else ()
    used = sweep.used + sum(job.gpus * (now - job.started) for job in sweep.running.values())
    return SweepState(sweep.name, sweep.priority, running, waiting, used)


def plain(_now: float, sweeps: Sequence[Sweep]) -> dict[str, Answer]:
    """Place the oldest requests that fit."""
    rooms = ClusterCapacity({node.node_id: NodeCapacity.of(node) for node in NODES})
    for job in (job for sweep in sweeps for job in sweep.running.values()):
        for name in job.places:
            rooms[name].take(size_of(job.demand.bundle))
    answers = {}
    for sweep in sorted(sweeps, key=lambda sweep: sweep.arrival):
        places = []
        for job in sweep.waiting:
            placed = rooms.place(size_of(job.demand.bundle), job.demand.ranks)
            if not placed:
                break  # the trials of a sweep are alike
            places.append(tuple(name for name, _ in placed))
        if places:
            answers[sweep.name] = Answer(places)
    return answers


def _figures(day: Day) -> dict[str, float]:
    jobs = [(sweep, job) for sweep in day.sweeps for job in sweep.jobs]
    work = sum(job.gpus * job.seconds for _, job in jobs)
    rows = {
        "sweeps": len(day.sweeps),
        "trials": len(jobs),
        "makespan, h": day.makespan / 3600,
        "makespan over its lower bound": day.makespan / _bound(day.sweeps),
        "GPUs in use while anything waited, %": 100 * day.used_while_wanted / day.wanted,
    }
    for priority in ("high", "normal", "low"):
        rows |= _waits(f"{priority}: wait of a trial", [pair for pair in jobs if pair[0].priority == priority])
    rows |= _waits("one MR-VAE run: wait", [pair for pair in jobs if pair[0].kind == "single"])
    rows |= _waits("gangs: wait of a trial", [pair for pair in jobs if pair[0].kind == "gang"])
    slowdowns = [sweep.slowdown for sweep in day.sweeps]
    speeds = [1 / slowdown for slowdown in slowdowns]
    rows |= {
        "slowdown of a sweep, median": statistics.median(slowdowns),
        "slowdown of a sweep, 95 %": _quantile(slowdowns, 0.95),
        "fairness (Jain, of 1 / slowdown)": sum(speeds) ** 2 / (len(speeds) * sum(speed**2 for speed in speeds)),
        "preemptions": day.preemptions,
        "work lost to them, %": 100 * day.lost / work,
    }
    return rows


def _waits(title: str, jobs: Sequence[tuple[Sweep, Job]]) -> dict[str, float]:
    waits = [(job.first_start - sweep.arrival) / 60 for sweep, job in jobs]
    return {
        f"{title}, median, min": statistics.median(waits),
        f"{title}, 95 %, min": _quantile(waits, 0.95),
        f"{title}, max, min": max(waits),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _bound(sweeps: Sequence[Sweep]) -> float:
    longest = max(sweep.arrival + max(job.seconds for job in sweep.jobs) for sweep in sweeps)
    later, bound = 0.0, 0.0
    for sweep in sorted(sweeps, key=lambda sweep: -sweep.arrival):
        later += sum(job.gpus * job.seconds for job in sweep.jobs)
        bound = max(bound, sweep.arrival + later / GPUS)
    return max(longest, bound)


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4g} ({min(values):.4g} to {max(values):.4g})"


if __name__ == "__main__":
    run()
