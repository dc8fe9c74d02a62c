"""Sweeps as jobs of a Ray cluster: started, joined and followed."""

from __future__ import annotations

import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ClusterUnreachable, ExitCode, SweepError
from orchestrator.remote.cluster import STOPPED, Cluster, ClusterJob, job_family, job_number
from orchestrator.remote.package import PROJECT, SPEC, build_package, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.spec.model import SweepSpec

FOLLOW_SECONDS = 2.0
UNREACHABLE_SECONDS = 120.0
"""How long a cluster may be unreachable before `follow` ends."""


@dataclass(frozen=True)
class RemoteSweep:
    """A sweep for a cluster. `store` and `data_root` are paths or URLs that are valid on the cluster's machines."""

    spec: SweepSpec
    store: str
    data_root: str | None = None
    tracking_uri: str | None = None
    retry_failed: bool = False
    retrain: bool = False
    checkpoint_seconds: float = 30.0
    verbose: bool = False
    code: bool = False

    @property
    def family(self) -> str:
        """The beginning of the ids of this sweep's jobs with this store."""
        return job_family(self.spec.name, self.store)

    @property
    def command(self) -> str:
        """The job's shell command: this program, on the cluster."""
        words = ["python", "-m", "orchestrator.cli.main", "submit", SPEC, "--connect", "--store", self.store]
        words += ["--checkpoint-every", f"{self.checkpoint_seconds:g}"]
        words += ["--data", self.data_root] if self.data_root else []
        words += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        words += ["--retry-failed"] if self.retry_failed else []
        words += ["--retrain"] if self.retrain else []
        words += ["--verbose"] if self.verbose else []
        # It replaces the shell, so that signals and exit codes are the program's own.
        return f"exec {shlex.join(words)}"


@dataclass(frozen=True)
class Submission:
    """The job that runs a sweep after a submission, and whether it was running before."""

    job_id: str
    joined: bool


def submit_job(cluster: Cluster, sweep: RemoteSweep) -> Submission:
    """Start a sweep's job on a cluster, or join the one that is running.

    Raises SweepError where that job has another spec, and ClusterUnreachable.
    """
    earlier = cluster.jobs(sweep.family)
    if earlier and not earlier[-1].ended:
        return _joined(earlier[-1], sweep)
    number = job_number(earlier[-1].job_id, sweep.family) if earlier else 0
    job_id = f"{sweep.family}-{number + 1}"
    metadata = {"sweep": sweep.spec.name, "store": sweep.store, "spec": digest(sweep.spec)}
    with tempfile.TemporaryDirectory(prefix=f"{PROJECT}-") as folder:
        build_package(sweep.spec, Path(folder), code=sweep.code)
        started = _start_once(lambda: cluster.start(job_id, sweep.command, Path(folder), metadata), cluster, job_id)
    if started:
        return Submission(job_id, joined=False)
    # Another submission took this id a moment earlier.
    job = cluster.job(job_id)
    if job is None:
        raise SweepError(f"{cluster.address} no longer has job {job_id}; submit again")
    return _joined(job, sweep)


def follow(cluster: Cluster, job_id: str, write: Callable[[str], None]) -> int:
    """Write a job's output until it ends, and return its exit code.

    A cluster that is unreachable is asked again for two minutes. Raises ClusterUnreachable then.
    """
    printed, answered_at = 0, time.monotonic()
    while True:
        try:
            job = cluster.job(job_id)
            text = cluster.log(job_id) if job is not None else ""
        except ClusterUnreachable as error:
            if time.monotonic() - answered_at > UNREACHABLE_SECONDS:
                raise ClusterUnreachable(f"{error}; nothing was changed, and the sweep may still be running") from error
        else:
            if job is None:
                raise SweepError(
                    f"{cluster.address} does not know job {job_id}: the cluster was restarted; submit again to resume "
                    "the sweep from its store"
                )
            write(text[printed:])
            printed, answered_at = len(text), time.monotonic()
            if job.ended:
                return _exit_code(job)
        time.sleep(FOLLOW_SECONDS)


def _start_once(start: Callable[[], bool], cluster: Cluster, job_id: str) -> bool:
    """Start a job; start it again only if the cluster says that the first request did not. An id is used once."""
    try:
        return start()
    except ClusterUnreachable:
        try:
            if cluster.job(job_id) is not None:
                return True
        except ClusterUnreachable as error:
            raise ClusterUnreachable(
                f"{error}; the sweep was submitted and may be running: the same command joins it if it is"
            ) from error
    return start() or cluster.job(job_id) is not None


def _joined(job: ClusterJob, sweep: RemoteSweep) -> Submission:
    if job.spec != digest(sweep.spec):
        raise SweepError(
            f"sweep {sweep.spec.name!r} is running there with another spec (job {job.job_id}); wait until it ends, or "
            f"`mrvae-orch cancel {sweep.spec.name}` and submit again: finished trials are kept"
        )
    return Submission(job.job_id, joined=True)


def _exit_code(job: ClusterJob) -> int:
    if job.exit_code is not None:
        return job.exit_code
    if job.status == STOPPED:
        return ExitCode.STOPPED
    raise SweepError(f"job {job.job_id} ended without an exit code: {job.message}; submit again to resume")
