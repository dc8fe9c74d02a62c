"""The origin of a result: the code's commit, the versions of packages, and the machine."""

from __future__ import annotations

import hashlib
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from models.architectures.registry import ARCHITECTURES
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    import torch

    from workers.data.dataset import Dataset
    from workers.trial import Trial

PLUGIN, PLUGIN_SOURCE = "plug-in", "source of plug-in"


def code_version() -> str:
    """Return the commit of this code's checkout, with "+changes" if files differ; outside a checkout, the version."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return f"version {metadata.version('mrvae-orch')}"
    return commit + ("+changes" if changed else "")


def machine(device: torch.device, threads: int, kind: str) -> dict[str, str]:
    """Return the machine and the versions, which may affect a trial's results besides its settings."""
    return {
        "device": kind,
        "device type": device.type,
        "threads": str(threads),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "mrvae-orch": metadata.version("mrvae-orch"),
    }


def plugins(trial: Trial) -> dict[str, str]:
    """Return the version of each package whose plug-ins a trial uses, and a hash of their source, by package."""
    used = ((ARCHITECTURES, trial.architecture), (DATASETS, trial.dataset))
    found = {}
    for registry, configuration in used:
        if package := registry.packages.get(configuration.name):
            found[f"{PLUGIN} {package.name}"] = package.version
            found[f"{PLUGIN_SOURCE} {package.name}"] = _source_sha256(type(configuration))
    return found


def data_content(dataset: Dataset) -> dict[str, str]:
    """Return the sha256 of each file that the user's own data was read from."""
    return {f"data {part} sha256": digest for part, digest in dataset.content_hashes.items()}


def _source_sha256(plugin: type) -> str:
    """Return a hash of the source of the package that a class is in, or of its module if it is in none."""
    module = sys.modules[plugin.__module__]
    top = sys.modules[plugin.__module__.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not files and module.__file__:
        files = [Path(module.__file__)]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603 (fixed words)
    return done.stdout.strip()
