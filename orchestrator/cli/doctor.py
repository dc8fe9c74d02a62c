from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import click
from rich.text import Text

from models.registry import ARCHITECTURES
from orchestrator.cli.options import console, data_option, store_option, tracking_option
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
@click.pass_context
def command(context: click.Context, store: Store, data_root: Path, tracking_uri: str | None) -> None:
    """Check versions, devices, plug-ins, datasets, the store and MLflow. Exit code 1 if something is wrong.

    \b
    mrvae-orch doctor --store /mnt/runs --tracking-uri http://mlflow.lab:5000
    """
    marks = {True: ("ok   ", "green"), False: ("wrong", "red"), None: ("     ", "")}
    out = console()
    all_well = True
    for well, text in _findings(store, data_root, tracking_uri):
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
    try:
        existed = store.root.exists()
        store.check_writable()
        free_gib = shutil.disk_usage(store.root).free / 2**30
        if not existed:
            store.root.rmdir()
    except Exception as error:  # noqa: BLE001 (whatever keeps the store from being used is the finding)
        return False, str(error)
    return True, f"store {store.root}: writable, {free_gib:.1f} GiB free"


def _tracking(store: Store, tracking_uri: str | None) -> Finding:
    from workers.tracking import TrackingUnavailable, probe
    from workers.tracking_uri import default_tracking_uri, redact

    if tracking_uri is None:
        return None, f"MLflow: {default_tracking_uri(store.root)}, made at the first submit"
    try:
        version = probe(tracking_uri)
    except TrackingUnavailable as error:
        return False, str(error)
    return True, f"MLflow at {redact(tracking_uri)}: {version}"
