"""NVIDIA's management library (NVML), which comes with the driver: what it takes to call it."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0
INSUFFICIENT_SIZE = 7


class NVMLError(Exception):
    """NVML is not there, does not have a function, or answered with an error; which one makes no difference here."""


def function(name: str, *arguments: Any, library: str = LIBRARY) -> Any:
    """Return one of NVML's functions, with the ctypes of its arguments; it returns a status, 0 for success.

    Raises NVMLError.
    """
    try:
        found = getattr(_load(library), name)
    except (OSError, AttributeError) as error:
        raise NVMLError(str(error)) from error
    found.argtypes = arguments
    return found


def board(uuid: str, library: str = LIBRARY) -> ctypes.c_void_p:
    """Return NVML's handle of a board, of which torch gives the UUID. Raises NVMLError.

    A part of a board (MIG) has a UUID of its own, which no board has.
    """
    handle = ctypes.c_void_p()
    find = function("nvmlDeviceGetHandleByUUID", ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p), library=library)
    # NVML's UUIDs say of what they are one, torch's do not.
    _check(find(f"GPU-{uuid}".encode(), ctypes.byref(handle)))
    return handle


@functools.lru_cache(maxsize=4)
def _load(library: str) -> ctypes.CDLL:
    # Once for a process, and never shut down: trials of one worker follow each other.
    nvml = ctypes.CDLL(library)
    _check(nvml.nvmlInit_v2())
    return nvml


def _check(status: int) -> None:
    if status != SUCCESS:
        raise NVMLError(f"status {status}")
