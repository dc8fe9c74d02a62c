"""A sweep on its way to a cluster, as its user sees it: what is refused, what is said, and how it is followed."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from orchestrator.errors import ClusterUnreachable, UserError
from orchestrator.jobs import Cluster, SentSweep, authentication_remark, follow, send
from orchestrator.requests import request_retry
from orchestrator.selection import resolve
from orchestrator.sweeps import SPEC, save_sweep
from workers.store import StoreError
from workers.tracking_uri import redact

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.spec import SweepSpec
    from workers.store import Store

CREDENTIALS = (
    "credentials are not sent, because Ray shows what a job is given; set them in the environment that the cluster's "
    "nodes are started with"
)


def cluster_place(option: str, value: str) -> str:
    """Return a place as a cluster is told of it. Raises UserError where its machines could not find the same one."""
    if "://" in value:
        parts = urlsplit(value)
        if parts.username is not None or "secret" in parts.query:
            raise UserError(f"{option} {parts.scheme}://…: {CREDENTIALS}, as AWS_ACCESS_KEY_ID and the like")
        return value.rstrip("/")
    if not PurePosixPath(value).is_absolute():
        raise UserError(
            f"{option} {value}: with --address, name a place that every machine of the cluster reaches: an absolute "
            "path (NFS), or s3://bucket/folder"
        )
    return os.path.normpath(value)


def tracking_place(uri: str | None) -> str | None:
    """Return a tracking URI as a cluster is told of it. Raises UserError where it has credentials."""
    if uri is not None and redact(uri) != uri:
        raise UserError(
            f"--tracking-uri {redact(uri)}: {CREDENTIALS}, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or all of it as MLFLOW_TRACKING_URI, and leave the option out"
        )
    return uri


def open_cluster(address: str) -> Cluster:
    """Return a cluster by its address; says so where authentication is switched off."""
    if remark := authentication_remark():
        click.echo(remark, err=True)
    return Cluster(address)


def send_sweep(
    cluster: Cluster, sweep: SentSweep, store: Store, console: Console, *, stay: bool, retry_joined: bool
) -> int:
    """Have a cluster run a sweep, say how it is followed, and return 0; or stay, and return the sweep's exit code.

    `retry_joined` asks one that runs there already to try anew what failed.
    """
    name = sweep.spec.name
    try:
        there, here = cluster.ray_versions()
    except ClusterUnreachable as error:
        raise ClusterUnreachable(f"{error}; nothing was started") from error
    if _minor(there) != _minor(here):
        console.print(f"Ray is {there} there and {here} here", soft_wrap=True)
    sent = send(cluster, sweep)
    if sent.joined:
        console.print(
            f"{name}: runs there already, as job {sent.job_id}, with the options it was given", soft_wrap=True
        )
        if retry_joined:
            _ask_for_retry(store, name, console)
    else:
        _announce(sweep.spec, store)
        console.print(f"{name}: sent to {cluster.address} as job {sent.job_id}", soft_wrap=True)
    if stay:
        console.print("Ctrl-C leaves it running there", soft_wrap=True)
        return follow(cluster, sent.job_id, lambda text: console.print(text, end="", soft_wrap=True))
    place = f"{shlex.quote(name)} --store {shlex.quote(sweep.store)}"
    for line in (f"watch {place}", f"logs {place} --address {cluster.address}", f"cancel {place}"):
        console.print(f"  mrvae-orch {line}", soft_wrap=True)
    return 0


def _announce(spec: SweepSpec, store: Store) -> None:
    """Have the sweep known in its store before its job has started, where the store is reached from here."""
    try:
        if (not store.is_local or store.root.is_dir()) and store.sweep(spec.name).read(SPEC) is None:
            save_sweep(store, resolve(spec, store), time.time())
    except StoreError:
        return  # its driver does the same, from where it is


def _ask_for_retry(store: Store, name: str, console: Console) -> None:
    if store.sweep(name).read(SPEC) is None:
        console.print(
            "Its store is not reached from here, so what failed is not tried anew; run "
            f"`mrvae-orch retry {name} --failed` where it is",
            soft_wrap=True,
        )
        return
    request_retry(store, name)
    console.print("It was asked to try anew what failed")


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
