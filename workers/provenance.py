"""Where a result comes from: the code's commit and the versions and machine it ran on."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from models.registry import ARCHITECTURES
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    import torch

    from workers.trial import Trial


def code_version() -> str:
    """Return the commit of the checkout this code runs from, "+changes" if it differs from it, else the version."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return f"version {metadata.version('mrvae-orch')}"
    return commit + ("+changes" if changed else "")


def machine(device: torch.device, threads: int, kind: str) -> dict[str, str]:
    """Return what a trial's numbers may depend on beside its settings."""
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
    """Return the version of each package whose plug-ins a trial uses, by the package's name."""
    used = (ARCHITECTURES.packages.get(trial.architecture.name), DATASETS.packages.get(trial.dataset.name))
    return {f"plug-in {package.name}": package.version for package in used if package}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603 (fixed words)
    return done.stdout.strip()
