"""The energy of GPUs, from the counters of NVIDIA's management library (NVML); unknown everywhere else.

The counter is for the whole board, idle power included, and changes every 20 to 100 ms: it is rough for a phase of
that length and good for one of minutes. It does not distinguish processes, so the energy is unknown for a trial with a
fraction of a GPU, and it includes other programs on a board that Ray reserved for one trial. The comparable counter of
a CPU (RAPL) covers the whole package with all its processes, and is not read.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import torch

from workers.devices import nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOULES_PER_COUNT = 1e-3


def energy_counter(device: torch.device, device_count: float) -> Callable[[], float]:
    """Return a function that reads the joules used so far by a trial's GPUs; NaN where they are unknown.

    Only differences of readings are meaningful. A trial's GPUs are the first `device_count` that this process sees.
    """
    if device.type != "cuda" or not float(device_count).is_integer() or device_count > torch.cuda.device_count():
        return _unknown
    return board_energy([str(torch.cuda.get_device_properties(index).uuid) for index in range(int(device_count))])


def board_energy(uuids: Sequence[str]) -> Callable[[], float]:
    """Return a function that reads the joules used so far by boards, given torch's UUIDs; NaN where NVML has none.

    A partition of a board (MIG) has a UUID that no board has: its energy is unknown.
    """
    found = nvml.boards(uuids)
    return functools.partial(_joules, *found) if found else _unknown


def _unknown() -> float:
    return math.nan


def _joules(library: Any, boards: Sequence[Any]) -> float:
    try:
        return JOULES_PER_COUNT * sum(library.nvmlDeviceGetTotalEnergyConsumption(board) for board in boards)
    except library.NVMLError:
        return math.nan
