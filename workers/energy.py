"""The energy that GPUs have used, as NVIDIA's management library (NVML) counts it; unknown everywhere else.

The counter is of the whole board, idle power included, and moves every 20 to 100 ms: a phase of that length is told
roughly, one of minutes well. It cannot tell apart who used the board, so it says nothing of a trial that holds a part
of one, and it counts what others run on a board that Ray believes to be one trial's alone. On a CPU the comparable
counter (RAPL) is of the whole package, whatever else it does, and is not read.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIBRARY = "libnvidia-ml.so.1"
JOULES_PER_COUNT = 1e-3
_SUCCESS = 0


def energy_counter(device: torch.device, device_count: float) -> Callable[[], float]:
    """Return what reads the joules used so far by the GPUs that a trial holds; NaN where nobody tells.

    Only differences of readings mean something. The trial holds the first `device_count` GPUs that this process sees.
    """
    if device.type != "cuda" or not float(device_count).is_integer() or device_count > torch.cuda.device_count():
        return _unknown
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in range(int(device_count))]
    return board_energy(uuids)


def board_energy(uuids: Sequence[str], library: str = LIBRARY) -> Callable[[], float]:
    """Return what reads the joules used so far by boards, of which torch gives the UUIDs; NaN where NVML does not tell.

    A part of a board (MIG) has a UUID of its own, which no board has: its energy is unknown.
    """
    try:
        nvml = _load(library)
        handles = [_handle(nvml, uuid) for uuid in uuids]
    except (OSError, AttributeError, _NVMLError):
        return _unknown
    return functools.partial(_joules, nvml, handles)


class _NVMLError(Exception):
    """NVML answered with an error; which one makes no difference here."""


def _unknown() -> float:
    return math.nan


@functools.lru_cache(maxsize=4)
def _load(library: str) -> ctypes.CDLL:
    # Once for a process, and never shut down: trials of one worker follow each other.
    nvml = ctypes.CDLL(library)
    nvml.nvmlDeviceGetHandleByUUID.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
    nvml.nvmlDeviceGetTotalEnergyConsumption.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulonglong)]
    _check(nvml.nvmlInit_v2())
    return nvml


def _handle(nvml: ctypes.CDLL, uuid: str) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    # NVML's UUIDs say of what they are one, torch's do not.
    _check(nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode(), ctypes.byref(handle)))
    return handle


def _joules(nvml: ctypes.CDLL, handles: Sequence[ctypes.c_void_p]) -> float:
    total, count = 0, ctypes.c_ulonglong()
    for handle in handles:
        if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(count)) != _SUCCESS:
            return math.nan
        total += count.value
    return JOULES_PER_COUNT * total


def _check(status: int) -> None:
    if status != _SUCCESS:
        raise _NVMLError
