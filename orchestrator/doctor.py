"""Checks of this machine, a store, a tracking server and a cluster, one finding at a time."""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import re
import shutil
import time
from dataclasses import dataclass
from enum import Enum
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from models.architectures.registry import ARCHITECTURES
from workers.data.registry import DATASETS
from workers.devices.processor import processor_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.store.store import Store

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "pyarrow", "pydantic", "plotly")
GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""The device files of NVIDIA's driver, AMD's, and Windows' for its Linux subsystem, in /dev."""


class Grade(Enum):
    """Whether a finding is good, a problem, or neither."""

    GOOD = "good"
    NEUTRAL = "neutral"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What was checked, how it is, and where something is wrong the next step, if the detail does not name it."""

    what: str
    grade: Grade
    detail: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}" + (f"; {self.next_step}" if self.next_step else "")


def examine_machine() -> Iterator[Finding]:
    """Yield what is found about Python, packages, devices and plug-ins."""
    yield Finding("Python", Grade.GOOD, f"{platform.python_version()} on {platform.platform()}")
    yield from map(_version, PACKAGES)
    yield from _devices()
    for registry in (ARCHITECTURES, DATASETS):
        for name, package in registry.packages.items():
            yield Finding(f"plug-in {registry.kind} {name}", Grade.GOOD, str(package))
        for reason in registry.left_out.values():
            yield Finding("plug-in", Grade.WRONG, reason)


def examine_store(store: Store) -> Iterator[Finding]:
    """Yield whether the store can be written. A folder that is not there is not made."""
    try:
        existed = not store.is_local or store.root.exists()
        store.check_writable()
        free = f", {shutil.disk_usage(store.root).free / 2**30:.1f} GiB free" if store.is_local else ""
        if not existed:
            store.root.rmdir()
    except Exception as error:  # noqa: BLE001 (whatever keeps the store from being used is the finding)
        yield Finding("store", Grade.WRONG, str(error).removeprefix("store: "))
        return
    yield Finding(f"store {store}", Grade.GOOD, f"writable{free}")


def examine_datasets(data_root: Path) -> Iterator[Finding]:
    """Yield which datasets are in the data folder, and the readers of users' own files."""
    for name, dataset in DATASETS.items():
        if dataset.is_reader():
            yield Finding(f"data {name}", Grade.NEUTRAL, dataset.summary)
            continue
        missing = [path for path in dataset().locate(data_root) if not path.is_file()]
        yield Finding(
            f"data {name}",
            Grade.NEUTRAL if missing else Grade.GOOD,
            f"not at {missing[0]}" if missing else "available",
        )


def examine_tracking(store: Store, tracking_uri: str | None) -> Iterator[Finding]:
    """Yield whether MLflow answers at a URI, or which database a submit without one would use."""
    from orchestrator.tracking.config import NO_DATABASE, default_uri
    from orchestrator.tracking.mlflow_client import TrackingUnavailable, probe
    from orchestrator.tracking.uri import redact

    if tracking_uri is None:
        uri = default_uri(store)
        yield Finding("MLflow", Grade.NEUTRAL, f"{uri}, created at the first submit" if uri else f"none: {NO_DATABASE}")
        return
    try:
        yield Finding("MLflow", Grade.GOOD, f"{probe(tracking_uri)} at {redact(tracking_uri)}")
    except TrackingUnavailable as error:
        yield Finding("MLflow", Grade.WRONG, str(error))


def examine_cluster(address: str) -> Iterator[Finding]:
    """Yield whether a Ray cluster accepts jobs from here, and which Ray and mrvae-orch it has."""
    from orchestrator.errors import ClusterError
    from orchestrator.remote.submit import open_cluster

    try:
        cluster = open_cluster(address)
        there, here = cluster.ray_versions()
        yield Finding(f"cluster {cluster.address}", Grade.GOOD, "accepts jobs with the token that is set here")
        yield Finding("Ray there", Grade.GOOD if there == here else Grade.NEUTRAL, there)
        version = cluster.probe("python -c \"from importlib.metadata import version; print(version('mrvae-orch'))\"")
    except ClusterError as error:
        yield Finding("cluster", Grade.WRONG, str(error))
        return
    found = version.splitlines()[-1] if version else "it has no `python`"
    if re.fullmatch(r"[\w.+]+", found):
        yield Finding("mrvae-orch there", Grade.GOOD, found)
    else:
        advice = "install it, or send the code with --code"
        yield Finding("mrvae-orch there", Grade.NEUTRAL, f"not installed ({found})", advice)


def measure_speed(store: Store, gpus: int | None, threads: int) -> Iterator[Finding]:
    """Measure the speed of a device into the store; `gpus` None takes a GPU if there is one. Takes half a minute."""
    import torch

    from workers.accounting.calibration import calibrate, write_calibration
    from workers.outcome import TrialFailed
    from workers.store.store import StoreError

    if gpus is None:
        gpus = int(torch.cuda.is_available())
    if gpus > torch.cuda.device_count():
        advice = "check the driver, or calibrate the CPU with --gpus 0"
        yield Finding("calibration", Grade.WRONG, "not measured: torch sees no GPU", advice)
        return
    yield Finding("calibration", Grade.NEUTRAL, f"measuring {'the GPU' if gpus else 'the CPU'}, about half a minute")
    try:
        # Checked first, because a measurement that cannot be written is lost.
        store.check_writable()
        found = calibrate(float(gpus), threads, clock=time.perf_counter, now=time.time)
        path = write_calibration(store, found)
    except (StoreError, TrialFailed, torch.OutOfMemoryError) as error:
        yield Finding("calibration", Grade.WRONG, f"not measured: {error}")
        return
    yield Finding("calibration", Grade.GOOD, f"written to {path}")


def examine_calibrations(store: Store) -> Iterator[Finding]:
    """Yield the calibrations in the store."""
    from workers.accounting.calibration import read_calibrations

    found, wrong = read_calibrations(store)
    for each in found:
        what, _, speed = str(each).partition(": ")
        on = time.strftime("%Y-%m-%d", time.localtime(each.measured_at))
        yield Finding(what, Grade.NEUTRAL if each.disturbed else Grade.GOOD, f"{speed}, {on}")
    for reason in wrong:
        yield Finding("calibration", Grade.WRONG, reason)


def _version(package: str) -> Finding:
    try:
        return Finding(package, Grade.GOOD, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(package, Grade.WRONG, "not installed", "run `make setup`")


def _devices() -> Iterator[Finding]:
    yield Finding("CPU", Grade.GOOD, f"{processor_name()}, {os.cpu_count()} cores")
    # Importing torch and torchvision takes seconds, which is worth it where they have a GPU to test.
    if not any(any(Path("/dev").glob(name)) for name in GPU_FILES) and _libraries_load():
        yield Finding("GPU", Grade.NEUTRAL, "none found")
        return
    try:
        import torch
        import torchvision  # noqa: F401 (a torch that does not match it fails here)
    except Exception as error:  # noqa: BLE001 (any failure of an import is the finding)
        advice = "install them as a pair from one index"
        yield Finding("torch and torchvision", Grade.WRONG, f"do not load together: {error}", advice)
        return
    if not torch.cuda.is_available():
        yield Finding("GPU", Grade.NEUTRAL, "none that torch can use")
    for index in range(torch.cuda.device_count()):
        yield Finding(f"GPU {index}", Grade.GOOD, torch.cuda.get_device_name(index))


def _libraries_load() -> bool:
    """Whether the compiled libraries of torch load, and those of torchvision with them."""
    found = [_files("torch", "lib/libtorch_python.*"), _files("torchvision", "_C*.so")]
    try:
        for path in itertools.chain.from_iterable(found):
            ctypes.CDLL(str(path))
    except OSError:
        return False
    return all(found)


def _files(package: str, pattern: str) -> list[Path]:
    spec = util.find_spec(package)
    return list(Path(spec.origin).parent.glob(pattern)) if spec is not None and spec.origin is not None else []
