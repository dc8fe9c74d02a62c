"""Remote submission as the user sees it: checks before it, messages, and following the job."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.errors import ClusterUnreachable, UserError
from orchestrator.remote.cluster import Cluster, authentication_warning
from orchestrator.remote.jobs import FOLLOW_SECONDS, RemoteSweep, follow, submit_job
from orchestrator.sweeps.control_files import forget_stop, request_retry, stop_is_requested
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.sweep import SPEC, save_sweep
from orchestrator.terminal import echo
from orchestrator.tracking.uri import redact
from workers.store.store import StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.spec.model import SweepSpec
    from workers.store.store import Store

CREDENTIALS = (
    "credentials are not sent, because Ray shows the settings of a job; set them in the environment in which the "
    "cluster's nodes are started"
)


def cluster_place(option: str, value: str) -> str:
    """Return a path or URL for a cluster. Raises UserError where its machines might not find the same place."""
    if "://" in value:
        parts = urlsplit(value)
        if parts.username is not None or "secret" in parts.query:
            raise UserError(f"{option} {parts.scheme}://…: {CREDENTIALS}, as AWS_ACCESS_KEY_ID and the like")
        return value.rstrip("/")
    if not PurePosixPath(value).is_absolute():
        raise UserError(
            f"{option} {value}: with --address, every machine of the cluster must reach it; give an absolute path "
            "(NFS) or s3://bucket/folder"
        )
    return os.path.normpath(value)


def tracking_place(uri: str | None) -> str | None:
    """Return a tracking URI for a cluster. Raises UserError where it contains credentials."""
    if uri is not None and redact(uri) != uri:
        raise UserError(
            f"--tracking-uri {redact(uri)}: {CREDENTIALS}, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or the whole URI as MLFLOW_TRACKING_URI, and leave the option out"
        )
    return uri


def open_cluster(address: str) -> Cluster:
    """Return a cluster by its address; prints a warning where authentication is switched off."""
    if warning := authentication_warning():
        echo(warning, err=True)
    return Cluster(address)


def submit_remotely(
    cluster: Cluster, sweep: RemoteSweep, store: Store, console: Console, *, stay: bool, retry_joined: bool
) -> int:
    """Run a sweep on a cluster, print how to follow it, and return 0; or follow it, and return its exit code.

    `retry_joined` asks a sweep that is already running there to retry failed trials.
    """
    name = sweep.spec.name
    _compare_versions(cluster, console)
    submission = submit_job(cluster, sweep)
    if submission.joined and _is_stopping(store, name):
        console.print(f"{name}: waiting for job {submission.job_id}, which was asked to stop", soft_wrap=True)
        while not cluster.has_ended(submission.job_id):
            time.sleep(FOLLOW_SECONDS)
        forget_stop(store, name)
        submission = submit_job(cluster, sweep)
    if submission.joined:
        console.print(f"{name}: already running as job {submission.job_id}, with its own options", soft_wrap=True)
        if retry_joined:
            _ask_for_retry(store, name, console)
    else:
        _announce(sweep.spec, store)
        console.print(f"{name}: submitted to {cluster.address} as job {submission.job_id}", soft_wrap=True)
    if stay:
        console.print("Ctrl-C leaves it running", soft_wrap=True)
        return follow(cluster, submission.job_id, lambda text: console.print(text, end="", soft_wrap=True))
    place = f"{shlex.quote(name)} --store {shlex.quote(sweep.store)}"
    for line in (f"watch {place}", f"logs {place} --address {cluster.address}", f"cancel {place}"):
        console.print(f"  mrvae-orch {line}", soft_wrap=True)
    return 0


def _compare_versions(cluster: Cluster, console: Console) -> None:
    """Print a difference of Ray's minor version. Raises ClusterUnreachable."""
    try:
        there, here = cluster.ray_versions()
    except ClusterUnreachable as error:
        raise ClusterUnreachable(f"{error}; nothing was started") from error
    if _minor(there) != _minor(here):
        console.print(f"Ray is {there} on the cluster and {here} here", soft_wrap=True)


def _announce(spec: SweepSpec, store: Store) -> None:
    """Write the sweep to its store before its job starts, if the store can be reached from here."""
    try:
        if (not store.is_local or store.root.is_dir()) and store.sweep(spec.name).read(SPEC) is None:
            save_sweep(store, resolve(spec, store), time.time())
    except StoreError:
        return  # its driver does the same


def _is_stopping(store: Store, name: str) -> bool:
    try:
        return stop_is_requested(store, name)
    except StoreError:
        return False  # the store cannot be reached from here


def _ask_for_retry(store: Store, name: str, console: Console) -> None:
    if store.sweep(name).read(SPEC) is None:
        console.print(
            "Failed trials are not retried: the store cannot be reached from here; run "
            f"`mrvae-orch retry {name} --failed` on a machine that reaches it",
            soft_wrap=True,
        )
        return
    request_retry(store, name)
    console.print("Retry of failed trials requested")


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
