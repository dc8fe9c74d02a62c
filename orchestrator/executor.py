"""Runs planned trials on the connected Ray: in their order, as the desk admits them, and again by cause."""

from __future__ import annotations

import signal
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cluster import demand_of, devices, draining, nodes
from orchestrator.crew import Crew, cause_of

# isort: split
import ray
from ray.exceptions import RayError

from orchestrator.admission import Running, SweepState
from orchestrator.retries import DRAINED, HUNG, TERMINATED, RetryPolicy, Tries, after_interruption
from orchestrator.worker import Job, run_job
from workers.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.admission import Demand, Grant
    from orchestrator.listeners import Listener
    from orchestrator.plan import PlannedTrial
    from orchestrator.requests import StopRequest
    from orchestrator.worker import Hooks, Look, WorkerSettings
    from workers.outcome import Progress
    from workers.trial import Resources

TICK_SECONDS = 0.25
LOOK_SECONDS = 1.0
REPORT_SECONDS = 1.0
CANCELLED_SECONDS = 2.0
NODES_SECONDS = 1.0
LAST_RANKS_SECONDS = 30.0
"""How long the other ranks of a gang may take to end after the first has."""
REPORTED_WAITING = 256
"""How many waiting trials the desk hears of: more than start at once, and the same work for any number that waits."""


class Admission(Protocol):
    """Who says how many trials may start: `admission.Desk`, or the one of a cluster."""

    def report(self, state: SweepState) -> Grant:
        """Take the state of one sweep, and return what it may do now."""

    def leave(self, name: str) -> None:
        """Forget a sweep that has ended."""


def _anything(_planned: PlannedTrial) -> None:
    return None


@dataclass(frozen=True)
class Terms:
    """On what terms trials are run.

    `may_launch` says why a trial may not start, None where it may. `cancelled` are the trials that must not run; it is
    asked every two seconds. `device_seconds` is what earlier attempts at the sweep's trials have used.
    """

    stop: StopRequest
    desk: Admission
    sweep: str
    priority: str = "normal"
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    may_launch: Callable[[PlannedTrial], str | None] = _anything
    cancelled: Callable[[], Iterable[str]] = tuple
    device_seconds: float = 0.0


def execute(
    trials: Sequence[PlannedTrial],
    settings: WorkerSettings,
    listener: Listener,
    terms: Terms,
    work: Callable[[Job, WorkerSettings, Hooks], Outcome] = run_job,
) -> dict[str, Outcome]:
    """Run the trials on the connected Ray, by `work` in its processes, and return each one's outcome.

    Trials that have not begun, or were cancelled before, when nothing more may start have no outcome. Nothing of Ray's
    is left behind.
    """
    execution = _Execution(trials, settings, listener, terms, work)
    try:
        return execution.to_the_end()
    finally:
        execution.close()


@contextmanager
def stopping_on_signals(stop: StopRequest) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM within the block into a stop request; a second one ends the process."""
    signalled = False

    def handle(_number: int, _frame: object) -> None:
        nonlocal signalled
        if signalled:
            raise KeyboardInterrupt
        signalled = True
        stop.make()

    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)


@dataclass(eq=False)
class _Task:
    """A trial that is not at its end, with what has happened to it."""

    planned: PlannedTrial
    tries: Tries = field(default_factory=Tries)
    not_before: float = 0.0
    attempts: int = 0

    @property
    def trial_id(self) -> str:
        return self.planned.trial_id

    @property
    def demand(self) -> Demand:
        return demand_of(self.planned.resources)


@dataclass(eq=False)
class _Attempt:
    """A task with the crew that works on it, what that holds, and the nodes where the desk said that there is room.

    `pending` are the references of what the ranks have still to answer: first where they are, then how it ended; the
    outcome of the `first` rank is that of the trial. `asked` is why it was told to stop.
    """

    task: _Task
    crew: Crew
    resources: Resources
    granted: Sequence[str]
    key: str
    launched_at: float
    heard_at: float = 0.0
    pending: list[Any] = field(default_factory=list)
    first: Any = None
    outcome: Outcome | None = None
    ended_at: float = 0.0
    progress: Progress | None = None
    look: Any = None
    looked_at: float = 0.0
    asked: str = ""

    @property
    def begun(self) -> bool:
        return self.first is not None

    def awaited(self) -> list[Any]:
        return self.pending if self.look is None else [*self.pending, self.look]


class _Execution:
    """The loop: wait for what Ray answers, then start what may start."""

    def __init__(
        self, trials: Sequence[PlannedTrial], settings: WorkerSettings, listener: Listener, terms: Terms, work: Any
    ) -> None:
        self._waiting = deque(_Task(planned) for planned in trials)
        self._settings, self._listener, self._terms, self._work = settings, listener, terms, work
        self._attempts: dict[str, _Attempt] = {}
        self._idle: list[Crew] = []
        self._outcomes: dict[str, Outcome] = {}
        self._cancelled: frozenset[str] = frozenset()
        self._draining: frozenset[str] = frozenset()
        self._device_seconds = terms.device_seconds
        self._held_back = ""
        self._out_of_budget = self._stopping = False
        self._changed = True
        self._reported_at = self._cancelled_at = self._nodes_at = -float("inf")

    def to_the_end(self) -> dict[str, Outcome]:
        while True:
            self._hear_wishes()
            if not self._stopping:
                self._admit()
            if not self._attempts and not self._more_to_come():
                return self._outcomes
            self._await_answers()
            self._watch()
            self._listener.tick()

    def close(self) -> None:
        """Leave nothing behind."""
        for crew in [*self._idle, *(attempt.crew for attempt in self._attempts.values())]:
            crew.dismiss()
        self._terms.desk.leave(self._terms.sweep)

    def _more_to_come(self) -> bool:
        if self._stopping or self._out_of_budget:
            return False
        return any(task.trial_id not in self._cancelled for task in self._waiting)

    # What others want.

    def _hear_wishes(self) -> None:
        now = time.monotonic()
        if now - self._cancelled_at >= CANCELLED_SECONDS:
            self._cancelled_at = now
            self._cancelled = frozenset(self._terms.cancelled())
        if now - self._nodes_at >= NODES_SECONDS:
            self._nodes_at = now
            self._look_at_nodes()
        if self._terms.stop.made and not self._stopping:
            self._stopping = True
            self._listener.stopping()
        for attempt in list(self._attempts.values()):
            if self._stopping:
                self._ask(attempt, "stopped")
            elif attempt.task.trial_id in self._cancelled:
                self._ask(attempt, "cancelled")

    def _look_at_nodes(self) -> None:
        self._draining = draining()
        there = {node.node_id for node in nodes()}
        for attempt in list(self._attempts.values()):
            if not attempt.begun and not there.issuperset(attempt.granted):
                # Ray would wait for the room that is gone, though there may be room elsewhere or for fewer ranks.
                self._withdraw(attempt)
            elif self._draining.intersection(attempt.crew.nodes):
                self._ask(attempt, "drained")

    def _ask(self, attempt: _Attempt, why: str) -> None:
        """Make an attempt checkpoint and stop; one that is still to begin is over at once."""
        if attempt.asked:
            return
        attempt.asked = why
        if attempt.begun:
            attempt.crew.stop(attempt.key)
        else:
            self._withdraw(attempt)

    def _withdraw(self, attempt: _Attempt) -> None:
        attempt.crew.dismiss()
        self._forget(attempt)
        self._waiting.appendleft(attempt.task)

    # What starts.

    def _admit(self) -> None:
        now = time.monotonic()
        if not self._changed and now - self._reported_at < REPORT_SECONDS:
            return
        self._changed, self._reported_at = False, now
        candidates = list(islice(self._candidates(now), REPORTED_WAITING))
        grant = self._terms.desk.report(self._state(candidates, now))
        for key in grant.preempt:
            if key in self._attempts:
                self._ask(self._attempts[key], "preempted")
        why = grant.why
        possible = (task for task in candidates if task.demand not in grant.impossible)
        for task, places in zip(possible, grant.places, strict=False):
            refused = self._terms.may_launch(task.planned)
            self._out_of_budget = refused is not None
            if refused is not None:
                why = refused
                break
            self._waiting.remove(task)
            self._launch(task, places)
        self._release_idle()
        if why != self._held_back:
            self._held_back = why
            self._listener.held_back(why)

    def _candidates(self, now: float) -> Iterator[_Task]:
        return (task for task in self._waiting if task.not_before <= now and task.trial_id not in self._cancelled)

    def _state(self, candidates: Sequence[_Task], now: float) -> SweepState:
        running = tuple(
            Running(
                attempt.task.trial_id,
                demand_of(attempt.resources),
                attempt.crew.nodes,
                now - attempt.launched_at,
                stopping=bool(attempt.asked),
            )
            for attempt in self._attempts.values()
        )
        waiting = tuple((demand, sum(1 for _ in same)) for demand, same in groupby(task.demand for task in candidates))
        used = self._device_seconds + sum(self._used(attempt, now) for attempt in self._attempts.values())
        return SweepState(self._terms.sweep, self._terms.priority, running, waiting, used)

    def _used(self, attempt: _Attempt, now: float) -> float:
        return devices(attempt.resources) * (now - attempt.launched_at)

    def _launch(self, task: _Task, places: Sequence[str]) -> None:
        now = time.monotonic()
        task.attempts += 1
        crew = self._crew(task.demand, places)
        resources = replace(task.planned.resources, ranks=crew.ranks, least_ranks=0)
        attempt = _Attempt(task, crew, resources, places, f"{task.trial_id} {task.attempts}", now)
        self._attempts[task.trial_id] = attempt
        if crew.introductions:
            attempt.pending = list(crew.introductions)
        else:
            self._begin(attempt)

    def _crew(self, demand: Demand, places: Sequence[str]) -> Crew:
        # A new process costs seconds, most of them to import torch; one that has ended a trial of this shape is reused.
        shape = (demand.bundle, len(places))
        for crew in self._idle:
            if crew.shape == shape and not self._draining.intersection(crew.nodes):
                self._idle.remove(crew)
                return crew
        return Crew(demand.bundle, len(places), places)

    def _begin(self, attempt: _Attempt) -> None:
        planned = attempt.task.planned
        job = Job(planned.trial_id, planned.trial.to_json(), planned.evaluation, attempt.resources, planned.along)
        attempt.heard_at = time.monotonic()
        attempt.pending = attempt.crew.run(attempt.key, self._work, job, self._settings)
        attempt.first = attempt.pending[0]
        self._listener.started(planned.trial_id, attempt.crew.ranks)

    def _release_idle(self) -> None:
        # Whatever could use them has just been launched, so they hold room that others may want.
        for crew in self._idle:
            crew.dismiss()
        self._idle.clear()

    # What Ray answers.

    def _await_answers(self) -> None:
        awaited = [reference for attempt in self._attempts.values() for reference in attempt.awaited()]
        if not awaited:
            time.sleep(TICK_SECONDS)
            return
        ray.wait(awaited, num_returns=1, timeout=TICK_SECONDS)
        answered = set(ray.wait(awaited, num_returns=len(awaited), timeout=0)[0])
        for attempt in list(self._attempts.values()):
            if not answered.isdisjoint(attempt.awaited()):
                try:
                    self._hear(attempt, answered)
                except RayError as error:
                    self._lost(attempt, *cause_of(error))

    def _hear(self, attempt: _Attempt, answered: set[Any]) -> None:
        if attempt.look in answered:
            look: Look = ray.get(attempt.look)
            attempt.look = None
            self._looked(attempt, look)
        heard = [reference for reference in attempt.pending if reference in answered]
        for reference, value in zip(heard, ray.get(heard), strict=True):
            attempt.pending.remove(reference)
            if reference == attempt.first:
                attempt.outcome, attempt.ended_at = value, time.monotonic()
        if attempt.pending:
            return
        if not attempt.begun:
            attempt.crew.meet()
            self._begin(attempt)
        elif attempt.outcome is not None:
            self._concluded(attempt, attempt.outcome)

    def _looked(self, attempt: _Attempt, look: Look) -> None:
        if look.key != attempt.key:
            return
        attempt.heard_at = time.monotonic() - look.seconds_since_beat
        if look.progress is not None and look.progress != attempt.progress:
            attempt.progress = look.progress
            self._listener.progressed(attempt.task.trial_id, look.progress)

    def _watch(self) -> None:
        """Ask how attempts stand, and end those that no longer show life."""
        now = time.monotonic()
        for attempt in list(self._attempts.values()):
            if not attempt.begun:
                continue
            if attempt.outcome is not None and now - attempt.ended_at > LAST_RANKS_SECONDS:
                attempt.crew.dismiss()
                self._concluded(attempt, attempt.outcome)
            elif now - attempt.heard_at > self._terms.retries.hung_after_seconds:
                self._lost(attempt, HUNG)
            elif attempt.look is None and now - attempt.looked_at >= LOOK_SECONDS:
                attempt.looked_at = now
                attempt.look = attempt.crew.look()

    # How attempts end.

    def _concluded(self, attempt: _Attempt, outcome: Outcome) -> None:
        if outcome.state == "interrupted":
            self._lost(attempt, outcome.cause, outcome.message)
            return
        if outcome.state == "stopped" and not attempt.asked:
            # Another rank's process was asked to terminate, and the gang has stopped with it.
            self._lost(attempt, TERMINATED)
            return
        self._idle.append(attempt.crew)
        if outcome.state == "stopped":
            self._stopped(attempt)
        else:
            self._forget(attempt)
            self._end(attempt.task, outcome)

    def _stopped(self, attempt: _Attempt) -> None:
        """Take back what has stopped as it was asked to."""
        self._forget(attempt)
        if attempt.asked == "drained":
            self._try_again(attempt, DRAINED)
        elif attempt.asked == "preempted":
            self._waiting.appendleft(attempt.task)
            self._listener.preempted(attempt.task.trial_id)
        else:
            self._end(attempt.task, Outcome("stopped", "cancelled" if attempt.asked == "cancelled" else ""))

    def _lost(self, attempt: _Attempt, cause: str, message: str = "") -> None:
        attempt.crew.dismiss()
        self._forget(attempt)
        self._try_again(attempt, cause, message)

    def _try_again(self, attempt: _Attempt, cause: str, message: str = "") -> None:
        task = attempt.task
        reached = attempt.progress.epoch if attempt.progress is not None else 0.0
        verdict = after_interruption(self._terms.retries, task.tries, cause, reached, message)
        task.tries = verdict.tries
        if verdict.wait_seconds is None:
            self._end(task, Outcome("interrupted", verdict.message, cause))
            return
        task.not_before = time.monotonic() + verdict.wait_seconds
        self._waiting.appendleft(task)
        self._listener.interrupted(task.trial_id, verdict.tries.total, verdict.message)

    def _end(self, task: _Task, outcome: Outcome) -> None:
        self._outcomes[task.trial_id] = outcome
        self._listener.ended(task.trial_id, outcome)

    def _forget(self, attempt: _Attempt) -> None:
        del self._attempts[attempt.task.trial_id]
        self._device_seconds += self._used(attempt, time.monotonic())
        self._changed = True
