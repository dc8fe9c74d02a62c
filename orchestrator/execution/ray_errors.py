"""The meaning of Ray's errors, including what only their text tells: no other module reads Ray's text.

tests/orchestrator/execution/test_ray_errors.py raises each of these errors on the installed Ray, so that a text which
Ray rewords fails a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.outcome import Cause

if TYPE_CHECKING:
    from ray.exceptions import AuthenticationError

_NODE_DIED = "its node has died"
_JOB_EXISTS = "already exists"
_WRONG_TOKEN = "Invalid authentication token"  # noqa: S105 (Ray's words for one)


def cause_of(error: Exception) -> tuple[Cause, str]:
    """Return why a rank's process ended, as a cause of retries, and what more there is to tell."""
    from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

    if isinstance(error, OutOfMemoryError):
        return Cause.HOST_MEMORY, ""
    if not isinstance(error, RayActorError):
        # Our own code, outside of the trial: a package that is missing there, most likely.
        return Cause.WORKER_DIED, f"its worker failed: {last_line(error)}"
    if error.actor_init_failed:
        return Cause.WORKER_DIED, f"its worker could not start: {last_line(error)}"
    # A node that reports the end of a worker is there: an actor is unavailable where its node is silent too.
    lost = isinstance(error, ActorUnavailableError) or error.preempted or _NODE_DIED in str(error)
    return (Cause.NODE_LOST if lost else Cause.WORKER_DIED), ""


def job_exists(error: Exception) -> bool:
    """Whether the job service refused a job because it has one of that id."""
    return _JOB_EXISTS in str(error)


def token_is_wrong(error: AuthenticationError) -> bool:
    """Whether a cluster refused the token that was sent; otherwise none was found to send."""
    return _WRONG_TOKEN in str(error)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, which for a remote traceback is what was raised."""
    lines = [line.strip() for line in str(error).splitlines()]
    # A traceback from the job service is followed by lines with nothing but a full stop.
    return next((line for line in reversed(lines) if len(line) > 1), type(error).__name__)
