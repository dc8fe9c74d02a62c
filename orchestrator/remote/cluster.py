"""The job service of a Ray cluster, and the sweeps that are its jobs.

Every request has a time limit. A cluster that does not respond raises ClusterUnreachable, which says nothing about the
state of a sweep.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import ClusterError, ClusterUnreachable
from orchestrator.execution.ray_errors import job_exists, last_line, token_is_wrong
from orchestrator.remote.package import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUEST_SECONDS = 30.0
"""The time limit of a request. Ray's client has none."""
PROBE_SECONDS = 120.0
PENDING, STOPPED, SUCCEEDED, FAILED = "PENDING", "STOPPED", "SUCCEEDED", "FAILED"
OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Variables from which Ray's client would take an address in place of the one it is given."""
TOKEN_PLACES = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"  # noqa: S105 (where one lies)


@dataclass(frozen=True)
class ClusterJob:
    """The job of a sweep. `status` is Ray's; `spec` is the digest of the sweep's spec."""

    job_id: str
    status: str
    sweep: str
    store: str
    spec: str
    message: str
    started_at: float | None
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.status in (STOPPED, SUCCEEDED, FAILED)

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON values."""
        return {
            "job": self.job_id,
            "sweep": self.sweep,
            "store": self.store,
            "status": self.status.lower(),
            "started_at": self.started_at,
            "exit_code": self.exit_code,
        }


class JobServiceError(RuntimeError):
    """An answer of the job service with an HTTP status other than success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def job_family(sweep: str, store: str) -> str:
    """Return the beginning of the ids of a sweep's jobs; a number follows."""
    return f"{sweep}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"


def job_number(job_id: str, family: str) -> int:
    """Return the number of a job in its family, or 0 for a job of another family."""
    found = re.fullmatch(rf"{re.escape(family)}-(\d+)", job_id)
    return int(found[1]) if found else 0


class Cluster:
    """A cluster's job service. Every method may raise ClusterUnreachable, or ClusterError for a bad token."""

    def __init__(self, address: str, request_seconds: float = REQUEST_SECONDS) -> None:
        self.address = _checked(address)
        self._request_seconds = request_seconds

    def ray_versions(self) -> tuple[str, str]:
        """Return the versions of Ray on the cluster and on this machine."""
        with self._requesting():
            there = str(self._client.get("/api/version")["ray_version"])
        import ray

        return there, ray.__version__

    def jobs(self, family: str | None = None) -> list[ClusterJob]:
        """Return the jobs that are sweeps, or those of one family, in the order of their numbers."""
        with self._requesting():
            found = [_job(details) for details in self._client.list_jobs()]
        sweeps = [job for job in found if job is not None and (family is None or job_number(job.job_id, family))]
        return sorted(
            sweeps, key=lambda job: (job.sweep, job.store, job_number(job.job_id, job_family(job.sweep, job.store)))
        )

    def job(self, job_id: str) -> ClusterJob | None:
        """Return a job, or None if the cluster has none with that id."""
        with self._requesting():
            try:
                return _job(self._client.get_job_info(job_id))
            except JobServiceError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def running(self, family: str) -> ClusterJob | None:
        """Return the job of a family that has not ended, or None."""
        return next((job for job in self.jobs(family) if not job.ended), None)

    def has_ended(self, job_id: str) -> bool:
        """Whether a job has ended, or is unknown to the cluster."""
        job = self.job(job_id)
        return job is None or job.ended

    def log(self, job_id: str) -> str:
        """Return the output of a job so far."""
        with self._requesting():
            return self._client.get_job_logs(job_id)

    def stop(self, job_id: str) -> None:
        """Ask a job to end: it gets a SIGTERM, and the cluster's grace period."""
        with self._requesting():
            self._client.stop_job(job_id)

    def start(self, job_id: str, command: str, folder: Path, metadata: dict[str, str]) -> bool:
        """Start a job in a copy of a folder; returns False if there is a job with that id already."""
        with self._requesting():
            try:
                self._client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    runtime_env={"working_dir": str(folder)},
                    metadata=metadata,
                )
            except JobServiceError as error:
                if job_exists(error):
                    return False
                raise
        return True

    def probe(self, command: str) -> str:
        """Run a short command as a job of the cluster, and return its output."""
        job_id = f"{PROJECT}-probe-{secrets.token_hex(4)}"
        with self._requesting():
            # Ray writes into the same log before the command does.
            self._client.submit_job(entrypoint=f"echo {job_id}; {command} 2>&1", submission_id=job_id)
            deadline = time.monotonic() + PROBE_SECONDS
            while str(self._client.get_job_status(job_id)) not in (STOPPED, SUCCEEDED, FAILED):
                if time.monotonic() > deadline:
                    self._client.stop_job(job_id)
                    raise ClusterUnreachable(f"{self.address}: a job did not run within {PROBE_SECONDS:g} s")
                time.sleep(0.5)
            printed: str = self._client.get_job_logs(job_id)
            self._client.delete_job(job_id)
        return printed.rpartition(f"{job_id}\n")[2].strip()

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)
        seconds = self._request_seconds

        class BoundedClient(JobSubmissionClient):
            def get(self, endpoint: str) -> Any:
                response = self._do_request("GET", endpoint)
                response.raise_for_status()
                return response.json()

            def _do_request(self, *arguments: Any, **options: Any) -> Any:
                return super()._do_request(*arguments, **{"timeout": seconds, **options})

            def _raise_error(self, response: Any) -> None:
                # Ray's own puts the status into a text.
                raise JobServiceError(response.status_code, response.text)

        with _without(OVERRIDES):
            return BoundedClient(self.address)

    @contextlib.contextmanager
    def _requesting(self) -> Iterator[None]:
        """Turn the errors of Ray's client into this project's."""
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # read by Ray when it is imported; a user's choice stays
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise ClusterError(f"{self.address} {_about_token(wrong=token_is_wrong(error))}") from error
        except OSError as error:  # those of requests too
            raise ClusterUnreachable(f"{self.address} cannot be reached: {self._reason(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterError(f"{self.address}: unexpected response; is this the Ray dashboard's address?") from error
        except JobServiceError as error:
            failed = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise (ClusterUnreachable if failed else ClusterError)(
                f"{self.address} answers with HTTP status {error.status}: {last_line(error)}"
            ) from error
        except RuntimeError as error:
            raise ClusterError(f"{self.address} refuses the request: {last_line(error)}") from error

    def _reason(self, error: OSError) -> str:
        if "Timeout" in type(error).__name__:
            return f"no answer within {self._request_seconds:g} s"
        deepest: BaseException = error
        while (cause := deepest.__cause__ or deepest.__context__) is not None:
            deepest = cause
        return getattr(deepest, "strerror", None) or str(deepest).strip() or type(deepest).__name__


def authentication_warning() -> str | None:
    """Return a warning that authentication is switched off on this machine, or None where it is on."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() == "token":
        return None
    return (
        f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']!r}: no token is sent, and a cluster that accepts jobs without "
        f"a token runs anyone's code; unset it, and put the token into {TOKEN_PLACES}"
    )


def _job(details: Any) -> ClusterJob | None:
    about = details.metadata or {}
    if details.submission_id is None or not {"sweep", "store", "spec"} <= about.keys():
        return None  # not a sweep
    return ClusterJob(
        job_id=details.submission_id,
        status=str(details.status.value),
        sweep=about["sweep"],
        store=about["store"],
        spec=about["spec"],
        message=details.message or "",
        started_at=None if details.start_time is None else details.start_time / 1000,
        exit_code=details.driver_exit_code,
    )


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 (read for its error)
    except ValueError as error:
        raise ClusterError(f"--address {address}: {error}; give the dashboard's, such as http://head:8265") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"--address {address}: not the address of a dashboard, such as http://head:8265")
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ClusterError(f"--address {shown}: remove user and password; a token is read from {TOKEN_PLACES}")
    return address.rstrip("/")


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _about_token(*, wrong: bool) -> str:
    if wrong:
        return f"refuses this token; is it another cluster's? It is read from {TOKEN_PLACES}"
    return f"requires a token, and none was found; put the cluster's token into {TOKEN_PLACES}"
