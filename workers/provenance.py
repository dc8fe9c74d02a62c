"""Where a result comes from: the code's commit and the versions and machine it ran on."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603 (fixed words)
    return done.stdout.strip()
