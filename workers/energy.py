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

from workers import nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOULES_PER_COUNT = 1e-3


def energy_counter(device: torch.device, device_count: float) -> Callable[[], float]:
    """Return what reads the joules used so far by the GPUs that a trial holds; NaN where nobody tells.

    Only differences of readings mean something. The trial holds the first `device_count` GPUs that this process sees.
    """
    if device.type != "cuda" or not float(device_count).is_integer() or device_count > torch.cuda.device_count():
        return _unknown
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in range(int(device_count))]
    return board_energy(uuids)


def board_energy(uuids: Sequence[str], library: str = nvml.LIBRARY) -> Callable[[], float]:
    """Return what reads the joules used so far by boards, of which torch gives the UUIDs; NaN where NVML does not tell.

    A part of a board (MIG) has a UUID of its own, which no board has: its energy is unknown.
    """
    try:
        read = nvml.function(
            "nvmlDeviceGetTotalEnergyConsumption",
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_ulonglong),
            library=library,
        )
        handles = [nvml.board(uuid, library) for uuid in uuids]
    except nvml.NVMLError:
        return _unknown
    return functools.partial(_joules, read, handles)


def _unknown() -> float:
    return math.nan


def _joules(read: Callable[..., int], handles: Sequence[ctypes.c_void_p]) -> float:
    total, count = 0, ctypes.c_ulonglong()
    for handle in handles:
        if read(handle, ctypes.byref(count)) != nvml.SUCCESS:
            return math.nan
        total += count.value
    return JOULES_PER_COUNT * total
