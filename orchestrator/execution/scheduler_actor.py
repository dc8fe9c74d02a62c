"""The scheduler that all drivers of a Ray cluster share: a named actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.execution.ray_cluster import NAMESPACE, nodes
from orchestrator.scheduling.admission import Scheduler
from orchestrator.scheduling.resources import AdmissionDecision

if TYPE_CHECKING:
    from orchestrator.scheduling.resources import SweepState


SHARED_SCHEDULER = "scheduler 2"
"""The number changes with what drivers and the scheduler send each other."""
LISTEN_SECONDS = 5.0
"""How long a new scheduler only listens: each driver reports every second."""
ANSWER_SECONDS = 10.0
NO_ANSWER = "waiting: the cluster's scheduler is not responding"


def scheduler() -> Scheduler | SharedScheduler:
    """Return the scheduler of the connected Ray: one in this process, or the one that a cluster's drivers share."""
    return SharedScheduler() if ray.get_runtime_context().namespace == NAMESPACE else Scheduler(nodes)


class SharedScheduler:
    """The scheduler that all drivers of a cluster share: a named actor that outlives them, created by the first driver.

    It keeps nothing that the next reports would not restore, so any driver recreates it if it is gone.
    """

    def __init__(self) -> None:
        self._actor: Any = None

    def report(self, state: SweepState) -> AdmissionDecision:
        """Report the state of a sweep, and return the decision on it; without an answer, nothing starts."""
        return self._ask("report", state) or AdmissionDecision(why=NO_ANSWER)

    def leave(self, name: str) -> None:
        """Remove a sweep that has ended; if the scheduler does not answer, it does so itself after a while."""
        self._ask("leave", name)

    def _ask(self, method: str, argument: Any) -> Any:
        try:
            if self._actor is None:
                self._actor = _scheduler_actor()
            return ray.get(getattr(self._actor, method).remote(argument), timeout=ANSWER_SECONDS)
        except (RayActorError, GetTimeoutError):
            self._actor = None
            return None


def _scheduler_actor() -> Any:
    options = {"name": SHARED_SCHEDULER, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    actor = ray.remote(Scheduler).options(**options, num_cpus=0, max_restarts=-1)
    return actor.remote(nodes, listen_seconds=LISTEN_SECONDS)
