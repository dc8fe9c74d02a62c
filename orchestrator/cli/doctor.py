from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING

import click
from rich.text import Text

from models.registry import ARCHITECTURES
from orchestrator.cli.options import address_option, console, data_option, store_option, tracking_option
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.store import Store

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "pyarrow", "pydantic", "plotly")

Finding = tuple[bool | None, str]
"""Whether it is well (None: neither good nor bad), and what was found."""


@click.command("doctor")
@store_option
@data_option
@tracking_option
@click.option(
    "--calibrate",
    is_flag=True,
    help="Measure this device's speed into the store, so that reports can convert times of several kinds; half a "
    "minute, in which nothing else should run.",
)
@click.option(
    "--gpus",
    type=click.IntRange(0, 1),
    help="With --calibrate: 1 for the first visible GPU, 0 for the CPU.  [default: 1 where there is one]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="With --calibrate: CPU threads, as training.threads of the trials.  [default: 1]",
)
@address_option
@click.pass_context
def command(
    context: click.Context,
    *,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    calibrate: bool,
    gpus: int | None,
    threads: int | None,
    address: str | None,
) -> None:
    """Check versions, devices, plug-ins, datasets, the store, MLflow and a cluster. Exit code 1 if something is wrong.

    \b
    mrvae-orch doctor --store /mnt/runs --tracking-uri http://mlflow.lab:5000
    mrvae-orch doctor --store /mnt/runs --calibrate
    mrvae-orch doctor --address http://head:8265
    """
    if not calibrate and (gpus is not None or threads is not None):
        raise click.UsageError("--gpus and --threads are of a calibration; add --calibrate")
    marks = {True: ("ok   ", "green"), False: ("wrong", "red"), None: ("     ", "")}
    out = console()
    all_well = True
    findings = itertools.chain(_findings(store, data_root, tracking_uri), _cluster(address) if address else ())
    measured = _calibrate(store, gpus, threads or 1) if calibrate else ()
    for well, text in itertools.chain(findings, measured, _calibrations(store)):
        out.print(Text.assemble(marks[well], " ", text), soft_wrap=True)
        all_well = all_well and well is not False
    context.exit(0 if all_well else 1)


def _findings(store: Store, data_root: Path, tracking_uri: str | None) -> Iterator[Finding]:
    yield sys.version_info >= (3, 11), f"Python {platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        yield _version(package)
    yield from _devices()
    yield from _plugins()
    yield _store(store)
    for name, dataset in DATASETS.items():
        if dataset.is_reader():
            yield None, f"data {name}: {dataset.summary}"
            continue
        missing = [path for path in dataset().locate(data_root) if not path.is_file()]
        yield None if missing else True, f"data {name}: " + (f"not at {missing[0]}" if missing else "here")
    yield _tracking(store, tracking_uri)


def _version(package: str) -> Finding:
    try:
        return True, f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return False, f"{package} is not installed; run `make setup`"


def _devices() -> Iterator[Finding]:
    try:
        import torch
        import torchvision  # noqa: F401 (a torch that does not match it fails here)
    except Exception as error:  # noqa: BLE001 (any failure of an import is the finding)
        yield False, f"torch and torchvision do not load together: {error}; install them as a pair from one index"
        return
    from workers.devices import device_kind

    yield True, f"CPU {device_kind(torch.device('cpu'))}, {os.cpu_count()} cores"
    if not torch.cuda.is_available():
        yield None, "no GPU that torch can use"
    for index in range(torch.cuda.device_count()):
        yield True, f"GPU {index} {torch.cuda.get_device_name(index)}"


def _plugins() -> Iterator[Finding]:
    for registry in (ARCHITECTURES, DATASETS):
        for name, package in registry.packages.items():
            yield True, f"plug-in {registry.kind} {name}: {package}"
        for reason in registry.left_out.values():
            yield False, reason


def _store(store: Store) -> Finding:
    if not store.is_local:
        return _object_store(store)
    try:
        existed = store.root.exists()
        store.check_writable()
        free_gib = shutil.disk_usage(store.root).free / 2**30
        if not existed:
            store.root.rmdir()
    except Exception as error:  # noqa: BLE001 (whatever keeps the store from being used is the finding)
        return False, str(error)
    return True, f"store {store.root}: writable, {free_gib:.1f} GiB free"


def _object_store(store: Store) -> Finding:
    try:
        store.check_writable()
    except Exception as error:  # noqa: BLE001 (whatever keeps the store from being used is the finding)
        return False, str(error)
    return True, f"store {store}: writable"


def _tracking(store: Store, tracking_uri: str | None) -> Finding:
    from orchestrator.tracking_place import NO_DATABASE, default_uri
    from workers.tracking import TrackingUnavailable, probe
    from workers.tracking_uri import redact

    if tracking_uri is None:
        uri = default_uri(store)
        return None, f"MLflow: {uri}, made at the first submit" if uri else f"no MLflow: {NO_DATABASE}"
    try:
        version = probe(tracking_uri)
    except TrackingUnavailable as error:
        return False, str(error)
    return True, f"MLflow at {redact(tracking_uri)}: {version}"


def _cluster(address: str) -> Iterator[Finding]:
    from orchestrator.errors import ClusterError
    from orchestrator.sending import open_cluster

    try:
        cluster = open_cluster(address)
        there, here = cluster.ray_versions()
        yield True, f"{cluster.address}: takes jobs, with the token that is set here"
        yield there == here or None, f"Ray there: {there}"
        version = cluster.probe("python -c \"from importlib.metadata import version; print(version('mrvae-orch'))\"")
    except ClusterError as error:
        yield False, str(error)
        return
    found = version.splitlines()[-1] if version else "it has no `python`"
    if re.fullmatch(r"[\w.+]+", found):
        yield True, f"mrvae-orch there: {found}"
    else:
        yield None, f"mrvae-orch is not installed there ({found}); install it, or send the code with --code"


def _calibrate(store: Store, gpus: int | None, threads: int) -> Iterator[Finding]:
    import torch

    from workers.calibration import calibrate, write_calibration
    from workers.store import StoreError
    from workers.training import TrialFailed

    if gpus is None:
        gpus = int(torch.cuda.is_available())
    if gpus > torch.cuda.device_count():
        yield False, "not calibrated: torch sees no GPU; check the driver, or calibrate the CPU with --gpus 0"
        return
    yield None, f"calibrating {'the GPU' if gpus else 'the CPU'}, about half a minute"
    try:
        # Before the measurement, which would be lost.
        store.check_writable()
        found = calibrate(float(gpus), threads, clock=time.perf_counter, now=time.time)
        path = write_calibration(store, found)
    except (StoreError, TrialFailed, torch.OutOfMemoryError) as error:
        yield False, f"not calibrated: {error}"
        return
    yield True, f"calibrated, in {path}"


def _calibrations(store: Store) -> Iterator[Finding]:
    from workers.calibration import read_calibrations

    found, wrong = read_calibrations(store)
    for calibration in found:
        on = time.strftime("%Y-%m-%d", time.localtime(calibration.measured_at))
        yield None if calibration.disturbed else True, f"{calibration}, {on}"
    for reason in wrong:
        yield False, reason
