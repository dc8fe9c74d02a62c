"""Tasks and their assignments to worker groups: the state of one run's trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from orchestrator.execution.worker import Job
from orchestrator.scheduling.resources import AdmittedTrial, request_of
from orchestrator.scheduling.retries import AttemptCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.execution.worker_group import WorkerGroup
    from orchestrator.planning.plan import PlannedTrial
    from orchestrator.scheduling.resources import ResourceRequest
    from workers.outcome import Outcome, Progress
    from workers.trial import Resources


class StopReason(Enum):
    """Why a running trial was told to checkpoint and stop."""

    RUN_STOPPED = auto()
    CANCELLED = auto()
    NODE_DRAINED = auto()
    PREEMPTED = auto()


@dataclass(eq=False)
class Task:
    """A trial that has not ended, with its interruptions so far."""

    planned: PlannedTrial
    counts: AttemptCounts = field(default_factory=AttemptCounts)
    not_before: float = 0.0
    attempts: int = 0

    @property
    def trial_id(self) -> str:
        """The id of its trial."""
        return self.planned.trial_id

    @property
    def request(self) -> ResourceRequest:
        """What it needs to start."""
        return request_of(self.planned.resources, self.planned.trial.training)


@dataclass(eq=False)
class Assignment:
    """A task on a worker group: one attempt, on the `nodes` that the scheduler named, with these resources.

    `pending` are the references that its workers have not answered: first their locations, then their outcomes. The
    outcome of rank 0, `leader`, is that of the trial.
    """

    task: Task
    workers: WorkerGroup
    resources: Resources
    nodes: Sequence[str]
    key: str
    launched_at: float
    heartbeat_at: float = 0.0
    pending: list[Any] = field(default_factory=list)
    leader: Any = None
    outcome: Outcome | None = None
    ended_at: float = 0.0
    progress: Progress | None = None
    status: Any = None
    status_at: float = 0.0
    stop_reason: StopReason | None = None

    @property
    def begun(self) -> bool:
        """Whether its job was sent to the workers."""
        return self.leader is not None

    def awaited(self) -> list[Any]:
        """Return all references that are not answered."""
        return self.pending if self.status is None else [*self.pending, self.status]

    def job(self) -> Job:
        """Return its job."""
        planned = self.task.planned
        return Job(
            planned.trial_id,
            planned.trial.to_json(),
            planned.evaluation,
            self.resources,
            planned.intermediate_evaluation,
        )

    def admitted(self, now: float) -> AdmittedTrial:
        """Return it as the scheduler counts it."""
        request = request_of(self.resources, self.task.planned.trial.training)
        stopping = self.stop_reason is not None
        return AdmittedTrial(self.task.trial_id, request, self.workers.nodes, now - self.launched_at, stopping=stopping)
