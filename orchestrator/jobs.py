"""Sweeps as jobs of a Ray cluster: sent, found again, followed and stopped, through the Ray Jobs API.

A cluster that does not answer tells nothing of a sweep: each request ends in time, and raises ClusterUnreachable.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shlex
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import ClusterError, ClusterUnreachable, SweepError
from orchestrator.parcel import PROJECT, SPEC, digest, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.spec import SweepSpec

ANSWER_SECONDS = 30.0
"""How long an answer is waited for. Ray's client would wait for ever."""
FOLLOW_SECONDS = 2.0
UNREACHABLE_SECONDS = 120.0
"""How long a cluster may give no answer before `follow` lets go of it."""
PROBE_SECONDS = 120.0
PENDING, STOPPED, SUCCEEDED, FAILED = "PENDING", "STOPPED", "SUCCEEDED", "FAILED"
EXIT_STOPPED = 130
OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Variables that Ray's client takes an address from, in place of the one it is given."""
TOKEN_PLACES = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"  # noqa: S105 (where one lies)


@dataclass(frozen=True)
class ClusterJob:
    """A sweep's job. `status` is Ray's word for how it stands; `spec` tells one spec from another."""

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
        """Whether it is over, well or not."""
        return self.status in (STOPPED, SUCCEEDED, FAILED)


@dataclass(frozen=True)
class SentSweep:
    """A sweep as it is sent to a cluster. `store` and `data_root` are places as the cluster's machines see them."""

    spec: SweepSpec
    store: str
    data_root: str | None = None
    tracking_uri: str | None = None
    retry_failed: bool = False
    checkpoint_seconds: float = 30.0
    code: bool = False

    @property
    def family(self) -> str:
        """What the ids of all jobs of this sweep in this store begin with; a number follows."""
        return job_family(self.spec.name, self.store)

    @property
    def command(self) -> str:
        """The shell command of the job: this program again, in the cluster."""
        words = ["python", "-m", "orchestrator.cli.main", "submit", SPEC, "--connect", "--store", self.store]
        words += ["--checkpoint-every", f"{self.checkpoint_seconds:g}"]
        words += ["--data", self.data_root] if self.data_root else []
        words += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        words += ["--retry-failed"] if self.retry_failed else []
        # The shell makes way for it, so that signals and exit codes are the program's own.
        return f"exec {shlex.join(words)}"


@dataclass(frozen=True)
class Sent:
    """How sending ended: the job that runs the sweep now, and whether it was running already."""

    job_id: str
    joined: bool


def job_family(sweep: str, store: str) -> str:
    """Return what the ids of a sweep's jobs begin with, by its name and its store."""
    return f"{sweep}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"


class Cluster:
    """The job service of a cluster. Every method may raise ClusterUnreachable, or ClusterError for a bad token."""

    def __init__(self, address: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.address = _checked(address)
        self._answer_seconds = answer_seconds

    def ray_versions(self) -> tuple[str, str]:
        """Return Ray's version there and here."""
        with self._asking():
            there = str(self._client.get("/api/version")["ray_version"])
        import ray

        return there, ray.__version__

    def jobs(self, family: str | None = None) -> list[ClusterJob]:
        """Return the jobs that are sweeps, or those of one family, in the order of their numbers."""
        with self._asking():
            found = [_job(details) for details in self._client.list_jobs()]
        sweeps = [job for job in found if job is not None and (family is None or _number(job.job_id, family))]
        return sorted(
            sweeps, key=lambda job: (job.sweep, job.store, _number(job.job_id, job_family(job.sweep, job.store)))
        )

    def job(self, job_id: str) -> ClusterJob | None:
        """Return a job, or None where the cluster knows none of that id."""
        with self._asking():
            try:
                return _job(self._client.get_job_info(job_id))
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return None
                raise

    def running(self, family: str) -> ClusterJob | None:
        """Return the job of a family that has not ended, or None."""
        return next((job for job in self.jobs(family) if not job.ended), None)

    def has_ended(self, job_id: str) -> bool:
        """Whether a job is over, or gone."""
        job = self.job(job_id)
        return job is None or job.ended

    def log(self, job_id: str) -> str:
        """Return what a job has printed so far."""
        with self._asking():
            return self._client.get_job_logs(job_id)

    def stop(self, job_id: str) -> None:
        """Ask a job to end: it gets a SIGTERM, and the cluster's grace period."""
        with self._asking():
            self._client.stop_job(job_id)

    def start(self, job_id: str, command: str, folder: Path, metadata: dict[str, str]) -> bool:
        """Start a job with a folder's files; returns False where there is one of that id already."""
        with self._asking():
            try:
                self._client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    runtime_env={"working_dir": str(folder)},
                    metadata=metadata,
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return False
                raise
        return True

    def probe(self, command: str) -> str:
        """Run a short command there as a job of its own, and return what it printed."""
        job_id = f"{PROJECT}-probe-{secrets.token_hex(4)}"
        with self._asking():
            self._client.submit_job(entrypoint=f"{command} 2>&1", submission_id=job_id)
            deadline = time.monotonic() + PROBE_SECONDS
            while str(self._client.get_job_status(job_id)) not in (STOPPED, SUCCEEDED, FAILED):
                if time.monotonic() > deadline:
                    self._client.stop_job(job_id)
                    raise ClusterUnreachable(f"{self.address}: a job did not run within {PROBE_SECONDS:g} s")
                time.sleep(0.5)
            printed: str = self._client.get_job_logs(job_id)
            self._client.delete_job(job_id)
        # Ray writes what it does for the job into the same file, before the command's own output.
        return printed.rpartition(f"job {job_id}:")[2].partition("\n")[2].strip()

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)
        seconds = self._answer_seconds

        class BoundedClient(JobSubmissionClient):
            def get(self, endpoint: str) -> Any:
                answer = self._do_request("GET", endpoint)
                answer.raise_for_status()
                return answer.json()

            def _do_request(self, *arguments: Any, **options: Any) -> Any:
                return super()._do_request(*arguments, **{"timeout": seconds, **options})

        with _without(OVERRIDES):
            return BoundedClient(self.address)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what Ray's client raises into what this project says."""
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # read by Ray when it is imported; a user's choice stays
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise ClusterError(_bad_token(self.address, str(error))) from error
        except OSError as error:  # those of requests too
            raise ClusterUnreachable(f"{self.address} cannot be reached: {self._reason(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterError(f"{self.address} does not answer as Ray does; is it the dashboard's address?") from error
        except RuntimeError as error:
            if found := re.search(r"status code (5\d\d)", str(error)):
                reason = _last_line(error)
                raise ClusterUnreachable(f"{self.address} answers with an error ({found[1]}): {reason}") from error
            raise ClusterError(f"{self.address} refuses: {_last_line(error)}") from error

    def _reason(self, error: OSError) -> str:
        if "Timeout" in type(error).__name__:
            return f"no answer within {self._answer_seconds:g} s"
        deepest: BaseException = error
        while (cause := deepest.__cause__ or deepest.__context__) is not None:
            deepest = cause
        return getattr(deepest, "strerror", None) or str(deepest).strip() or type(deepest).__name__


def send(cluster: Cluster, sweep: SentSweep) -> Sent:
    """Have a cluster run a sweep, or join the job that runs it there already.

    Raises SweepError where that job runs another spec, and ClusterUnreachable.
    """
    earlier = cluster.jobs(sweep.family)
    if earlier and not earlier[-1].ended:
        return _joined(earlier[-1], sweep)
    number = _number(earlier[-1].job_id, sweep.family) if earlier else 0
    job_id = f"{sweep.family}-{number + 1}"
    metadata = {"sweep": sweep.spec.name, "store": sweep.store, "spec": digest(sweep.spec)}
    with tempfile.TemporaryDirectory(prefix=f"{PROJECT}-") as folder:
        pack(sweep.spec, Path(folder), code=sweep.code)
        started = _start_once(lambda: cluster.start(job_id, sweep.command, Path(folder), metadata), cluster, job_id)
    if started:
        return Sent(job_id, joined=False)
    # Another laptop was quicker by a moment.
    job = cluster.job(job_id)
    if job is None:
        raise SweepError(f"{cluster.address} has just lost job {job_id}; submit again")
    return _joined(job, sweep)


def follow(cluster: Cluster, job_id: str, write: Callable[[str], None]) -> int:
    """Write what a job prints until it ends, and return its exit code.

    A cluster that gives no answer is asked again for two minutes. Raises ClusterUnreachable then.
    """
    printed, answered_at = 0, time.monotonic()
    while True:
        try:
            job = cluster.job(job_id)
            text = cluster.log(job_id) if job is not None else ""
        except ClusterUnreachable as error:
            if time.monotonic() - answered_at > UNREACHABLE_SECONDS:
                raise ClusterUnreachable(f"{error}; nothing was changed, and the sweep may well go on") from error
        else:
            if job is None:
                raise SweepError(
                    f"{cluster.address} does not know job {job_id} any more: it was started anew; submit again, and "
                    "the sweep goes on from its store"
                )
            write(text[printed:])
            printed, answered_at = len(text), time.monotonic()
            if job.ended:
                return _exit_code(job)
        time.sleep(FOLLOW_SECONDS)


def authentication_remark() -> str | None:
    """Return what a user should know of who switched authentication off, or None where nobody did."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() == "token":
        return None
    return (
        f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']!r}: no token is sent, and a cluster that takes jobs without "
        f"one runs anybody's code; unset it, and give the token by {TOKEN_PLACES}"
    )


def _start_once(start: Callable[[], bool], cluster: Cluster, job_id: str) -> bool:
    """Start a job, and again only where the cluster says that the first request did not: the id is taken but once."""
    try:
        return start()
    except ClusterUnreachable:
        try:
            if cluster.job(job_id) is not None:
                return True
        except ClusterUnreachable as error:
            raise ClusterUnreachable(
                f"{error}; the sweep was sent, and may have been started: the same command joins it if it was"
            ) from error
    return start() or cluster.job(job_id) is not None


def _joined(job: ClusterJob, sweep: SentSweep) -> Sent:
    if job.spec != digest(sweep.spec):
        raise SweepError(
            f"sweep {sweep.spec.name!r} runs there with another spec (job {job.job_id}); wait until it has ended, or "
            f"`mrvae-orch cancel {sweep.spec.name}` and submit again: what is trained stays"
        )
    return Sent(job.job_id, joined=True)


def _job(details: Any) -> ClusterJob | None:
    about = details.metadata or {}
    if details.submission_id is None or not {"sweep", "store", "spec"} <= about.keys():
        return None  # not one of ours
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


def _number(job_id: str, family: str) -> int:
    found = re.fullmatch(rf"{re.escape(family)}-(\d+)", job_id)
    return int(found[1]) if found else 0


def _exit_code(job: ClusterJob) -> int:
    if job.exit_code is not None:
        return job.exit_code
    if job.status == STOPPED:
        return EXIT_STOPPED
    raise SweepError(f"job {job.job_id} ended without an exit code: {job.message}; submit again to go on")


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 (read for its error)
    except ValueError as error:
        raise ClusterError(f"--address {address}: {error}; give the dashboard's, such as http://head:8265") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"--address {address}: not an address of a dashboard, such as http://head:8265")
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ClusterError(f"--address {shown}: leave user and password out; a token is given by {TOKEN_PLACES}")
    return address.rstrip("/")


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _bad_token(address: str, message: str) -> str:
    if "Invalid" in message or "invalid" in message:
        return f"{address} does not take this token: another cluster's? It is read from {TOKEN_PLACES}"
    return f"{address} wants a token, and there is none here: put the cluster's into {TOKEN_PLACES}"


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if len(line) > 1), type(error).__name__)
