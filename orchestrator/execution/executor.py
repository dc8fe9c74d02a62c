"""Executes planned trials on the connected Ray: in order, as the scheduler admits them, with retries by cause."""

from __future__ import annotations

import signal
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from orchestrator.execution.ray_cluster import draining, nodes
from orchestrator.execution.ray_errors import cause_of
from orchestrator.execution.worker_group import WorkerGroup

# isort: split
import ray
from ray.exceptions import RayError

from orchestrator.execution.assignment import Assignment, StopReason, Task
from orchestrator.execution.worker import run_job
from orchestrator.scheduling.resources import SweepState
from orchestrator.scheduling.retries import RetryPolicy, after_interruption
from workers.outcome import Cause, Outcome, TrialState

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.execution.callbacks import Callback
    from orchestrator.execution.scheduler_actor import SharedScheduler
    from orchestrator.execution.worker import Job, JobStatus, WorkerCallbacks, WorkerSettings
    from orchestrator.planning.plan import PlannedTrial
    from orchestrator.scheduling.admission import Scheduler
    from orchestrator.scheduling.resources import ResourceRequest

TICK_SECONDS = 0.25
STATUS_SECONDS = 1.0
REPORT_SECONDS = 1.0
CANCELLED_SECONDS = 2.0
NODES_SECONDS = 1.0
LAST_RANKS_SECONDS = 30.0
"""How long the other ranks of a process group may take to end after rank 0 has."""
REPORTED_WAITING = 256
"""How many waiting trials are reported to the scheduler: more than start at once, and no more work for long queues."""


@dataclass(frozen=True)
class RunOptions:
    """How trials are run.

    `may_launch` returns why a trial may not start, None if it may. `cancelled` returns the trials that must not run; it
    is called every two seconds. `device_seconds` are those of earlier attempts at the sweep's trials.
    """

    stop: threading.Event
    scheduler: Scheduler | SharedScheduler
    sweep: str
    priority: str = "normal"
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    may_launch: Callable[[PlannedTrial], str | None] | None = None
    cancelled: Callable[[], Iterable[str]] = tuple
    device_seconds: float = 0.0


def execute(
    trials: Sequence[PlannedTrial],
    settings: WorkerSettings,
    callbacks: Sequence[Callback],
    options: RunOptions,
    work: Callable[[Job, WorkerSettings, WorkerCallbacks], Outcome] = run_job,
) -> dict[str, Outcome]:
    """Run the trials on the connected Ray, by `work` in its processes, and return their outcomes by trial id.

    A trial has no outcome if it had not begun when the last one was allowed to start. No actor or placement group is
    left behind.
    """
    execution = _Execution(trials, settings, callbacks, options, work)
    try:
        return execution.run()
    finally:
        execution.close()


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM within the block into a stop request; a second one ends the process."""
    signalled = False

    def handle(_number: int, _frame: object) -> None:
        nonlocal signalled
        if signalled:
            raise KeyboardInterrupt
        signalled = True
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)


class _Execution:
    """The loop: read requests, start what the scheduler admits, wait for answers of workers."""

    def __init__(
        self,
        trials: Sequence[PlannedTrial],
        settings: WorkerSettings,
        callbacks: Sequence[Callback],
        options: RunOptions,
        work: Any,
    ) -> None:
        self._waiting = deque(Task(planned) for planned in trials)
        self._settings, self._callbacks, self._options, self._work = settings, callbacks, options, work
        self._assignments: dict[str, Assignment] = {}
        self._idle: list[WorkerGroup] = []
        self._outcomes: dict[str, Outcome] = {}
        self._cancelled: frozenset[str] = frozenset()
        self._draining: frozenset[str] = frozenset()
        self._device_seconds = options.device_seconds
        self._held_back = ""
        self._out_of_budget = self._stopping = False
        self._changed = True
        self._reported_at = self._cancelled_at = self._nodes_at = -float("inf")

    def run(self) -> dict[str, Outcome]:
        while True:
            self._read_requests()
            if not self._stopping:
                self._admit()
            if not self._assignments and not self._more_to_come():
                return self._outcomes
            self._await_answers()
            self._check_liveness()
            self._notify(lambda each: each.tick())

    def close(self) -> None:
        """Kill all workers, and leave the scheduler."""
        for workers in [*self._idle, *(assignment.workers for assignment in self._assignments.values())]:
            workers.dismiss()
        self._options.scheduler.leave(self._options.sweep)

    def _notify(self, event: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            event(callback)

    def _more_to_come(self) -> bool:
        if self._stopping or self._out_of_budget:
            return False
        return any(task.trial_id not in self._cancelled for task in self._waiting)

    # Requests to stop.

    def _read_requests(self) -> None:
        now = time.monotonic()
        if now - self._cancelled_at >= CANCELLED_SECONDS:
            self._cancelled_at = now
            self._cancelled = frozenset(self._options.cancelled())
        if now - self._nodes_at >= NODES_SECONDS:
            self._nodes_at = now
            self._check_nodes()
        if self._options.stop.is_set() and not self._stopping:
            self._stopping = True
            self._notify(lambda each: each.stopping())
        for assignment in list(self._assignments.values()):
            if self._stopping:
                self._stop(assignment, StopReason.RUN_STOPPED)
            elif assignment.task.trial_id in self._cancelled:
                self._stop(assignment, StopReason.CANCELLED)

    def _check_nodes(self) -> None:
        self._draining = draining()
        alive = {node.node_id for node in nodes()}
        for assignment in list(self._assignments.values()):
            if not assignment.begun and not alive.issuperset(assignment.nodes):
                # Ray would wait for a lost node, though the trial may fit elsewhere or start with fewer ranks.
                self._requeue(assignment)
            elif self._draining.intersection(assignment.workers.nodes):
                self._stop(assignment, StopReason.NODE_DRAINED)

    def _stop(self, assignment: Assignment, reason: StopReason) -> None:
        """Make an assignment checkpoint and stop; one that has not begun returns to the queue at once."""
        if assignment.stop_reason:
            return
        assignment.stop_reason = reason
        if assignment.begun:
            assignment.workers.stop(assignment.key)
        else:
            self._requeue(assignment)

    def _requeue(self, assignment: Assignment) -> None:
        assignment.workers.dismiss()
        self._forget(assignment)
        self._waiting.appendleft(assignment.task)

    # Admission.

    def _admit(self) -> None:
        now = time.monotonic()
        if not self._changed and now - self._reported_at < REPORT_SECONDS:
            return
        self._changed, self._reported_at = False, now
        candidates = list(islice(self._candidates(now), REPORTED_WAITING))
        decision = self._options.scheduler.report(self._state(candidates, now))
        for key in decision.preempt:
            if key in self._assignments:
                self._stop(self._assignments[key], StopReason.PREEMPTED)
        why = decision.why
        possible = (task for task in candidates if task.request not in decision.impossible)
        for task, assigned_nodes in zip(possible, decision.places, strict=False):
            refused = self._options.may_launch(task.planned) if self._options.may_launch else None
            self._out_of_budget = refused is not None
            if refused is not None:
                why = refused
                break
            self._waiting.remove(task)
            self._launch(task, assigned_nodes)
        self._release_idle()
        if why != self._held_back:
            self._held_back = why
            self._notify(lambda each: each.held_back(why))

    def _candidates(self, now: float) -> Iterator[Task]:
        return (task for task in self._waiting if task.not_before <= now and task.trial_id not in self._cancelled)

    def _state(self, candidates: Sequence[Task], now: float) -> SweepState:
        running = tuple(assignment.admitted(now) for assignment in self._assignments.values())
        waiting = tuple(
            (request, sum(1 for _ in same)) for request, same in groupby(task.request for task in candidates)
        )
        used = self._device_seconds + sum(trial.device_seconds for trial in running)
        return SweepState(self._options.sweep, self._options.priority, running, waiting, used)

    def _launch(self, task: Task, assigned_nodes: Sequence[str]) -> None:
        now = time.monotonic()
        task.attempts += 1
        workers = self._workers_for(task.request, assigned_nodes)
        resources = replace(task.planned.resources, ranks=workers.ranks, min_ranks=0)
        assignment = Assignment(task, workers, resources, assigned_nodes, f"{task.trial_id} {task.attempts}", now)
        self._assignments[task.trial_id] = assignment
        if workers.locations:
            assignment.pending = list(workers.locations)
        else:
            self._begin(assignment)

    def _workers_for(self, request: ResourceRequest, assigned_nodes: Sequence[str]) -> WorkerGroup:
        # A new process takes seconds, most of them to import torch, so idle workers of the same shape are reused.
        shape = (request.bundle, len(assigned_nodes))
        for workers in self._idle:
            if workers.shape == shape and not self._draining.intersection(workers.nodes):
                self._idle.remove(workers)
                return workers
        return WorkerGroup(request.bundle, len(assigned_nodes), assigned_nodes)

    def _begin(self, assignment: Assignment) -> None:
        assignment.heartbeat_at = time.monotonic()
        assignment.pending = assignment.workers.run(assignment.key, self._work, assignment.job(), self._settings)
        assignment.leader = assignment.pending[0]
        self._notify(lambda each: each.started(assignment.task.trial_id, assignment.workers.ranks))

    def _release_idle(self) -> None:
        # Whatever could use them has just been launched; other sweeps may need their resources.
        for workers in self._idle:
            workers.dismiss()
        self._idle.clear()

    # Answers of workers.

    def _await_answers(self) -> None:
        awaited = [reference for assignment in self._assignments.values() for reference in assignment.awaited()]
        if not awaited:
            time.sleep(TICK_SECONDS)
            return
        ray.wait(awaited, num_returns=1, timeout=TICK_SECONDS)
        answered = set(ray.wait(awaited, num_returns=len(awaited), timeout=0)[0])
        for assignment in list(self._assignments.values()):
            if not answered.isdisjoint(assignment.awaited()):
                try:
                    self._take_answers(assignment, answered)
                except RayError as error:
                    self._lost(assignment, *cause_of(error))

    def _take_answers(self, assignment: Assignment, answered: set[Any]) -> None:
        if assignment.status in answered:
            status: JobStatus = ray.get(assignment.status)
            assignment.status = None
            self._take_status(assignment, status)
        references = [reference for reference in assignment.pending if reference in answered]
        for reference, value in zip(references, ray.get(references), strict=True):
            assignment.pending.remove(reference)
            if reference == assignment.leader:
                assignment.outcome, assignment.ended_at = value, time.monotonic()
        if assignment.pending:
            return
        if not assignment.begun:
            assignment.workers.locate()
            self._begin(assignment)
        elif assignment.outcome is not None:
            self._end_assignment(assignment, assignment.outcome)

    def _take_status(self, assignment: Assignment, status: JobStatus) -> None:
        if status.key != assignment.key:
            return
        assignment.heartbeat_at = time.monotonic() - status.seconds_since_heartbeat
        progress = status.progress
        if progress is not None and progress != assignment.progress:
            assignment.progress = progress
            self._notify(lambda each: each.progressed(assignment.task.trial_id, progress))

    def _check_liveness(self) -> None:
        """Ask for the status of assignments, and end those that hang."""
        now = time.monotonic()
        for assignment in list(self._assignments.values()):
            if not assignment.begun:
                continue
            if assignment.outcome is not None and now - assignment.ended_at > LAST_RANKS_SECONDS:
                assignment.workers.dismiss()
                self._end_assignment(assignment, assignment.outcome)
            elif now - assignment.heartbeat_at > self._options.retries.hung_after_seconds:
                self._lost(assignment, Cause.HUNG)
            elif assignment.status is None and now - assignment.status_at >= STATUS_SECONDS:
                assignment.status_at = now
                assignment.status = assignment.workers.status()

    # Ends of assignments.

    def _end_assignment(self, assignment: Assignment, outcome: Outcome) -> None:
        if outcome.state == TrialState.INTERRUPTED:
            self._lost(assignment, outcome.cause or Cause.WORKER_DIED, outcome.message)
            return
        if outcome.state == TrialState.STOPPED and not assignment.stop_reason:
            # Another rank's process received SIGTERM, and all ranks have stopped with it.
            self._lost(assignment, Cause.TERMINATED)
            return
        self._idle.append(assignment.workers)
        if outcome.state == TrialState.STOPPED:
            self._end_stopped(assignment)
        else:
            self._forget(assignment)
            self._end(assignment.task, outcome)

    def _end_stopped(self, assignment: Assignment) -> None:
        """Requeue or end a task that has stopped as requested."""
        self._forget(assignment)
        if assignment.stop_reason == StopReason.NODE_DRAINED:
            self._retry(assignment, Cause.DRAINED)
        elif assignment.stop_reason == StopReason.PREEMPTED:
            self._waiting.appendleft(assignment.task)
            self._notify(lambda each: each.preempted(assignment.task.trial_id))
        else:
            message = "cancelled" if assignment.stop_reason == StopReason.CANCELLED else ""
            self._end(assignment.task, Outcome(TrialState.STOPPED, message))

    def _lost(self, assignment: Assignment, cause: Cause, message: str = "") -> None:
        assignment.workers.dismiss()
        self._forget(assignment)
        self._retry(assignment, cause, message)

    def _retry(self, assignment: Assignment, cause: Cause, message: str = "") -> None:
        task = assignment.task
        reached = assignment.progress.epoch if assignment.progress is not None else 0.0
        decision = after_interruption(self._options.retries, task.counts, cause, reached, message)
        task.counts = decision.counts
        if decision.wait_seconds is None:
            self._end(task, Outcome(TrialState.INTERRUPTED, decision.message, cause))
            return
        task.not_before = time.monotonic() + decision.wait_seconds
        self._waiting.appendleft(task)
        self._notify(lambda each: each.interrupted(task.trial_id, decision.counts.total, decision.message))

    def _end(self, task: Task, outcome: Outcome) -> None:
        self._outcomes[task.trial_id] = outcome
        self._notify(lambda each: each.ended(task.trial_id, outcome))

    def _forget(self, assignment: Assignment) -> None:
        del self._assignments[assignment.task.trial_id]
        self._device_seconds += assignment.admitted(time.monotonic()).device_seconds
        self._changed = True
