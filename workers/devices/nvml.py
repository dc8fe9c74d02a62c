"""NVIDIA's management library (NVML), through NVIDIA's Python binding (nvidia-ml-py); both are optional."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def boards(uuids: Sequence[str]) -> tuple[Any, list[Any]] | None:
    """Return the module `pynvml` and its handles of boards, given torch's UUIDs; None where NVML does not know them.

    A partition of a board (MIG) has a UUID that no board has.
    """
    if (library := _load()) is None:
        return None
    try:
        # NVML's UUIDs begin with "GPU-", torch's do not.
        return library, [library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]
    except library.NVMLError:
        return None


@functools.cache
def _load() -> Any:
    """Return `pynvml`, initialised; None without the package or without a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        # Initialised once per process and never shut down, because one worker runs many trials.
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
