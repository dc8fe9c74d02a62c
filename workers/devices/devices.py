"""The device of a trial: which one, its name, and its peak memory."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from workers.devices.processor import processor_name

if TYPE_CHECKING:
    from collections.abc import Callable


class DeviceMissing(Exception):  # noqa: N818 (a state of the machine, not a defect)
    """A trial has a device that torch cannot use here."""


def choose_device(gpus: float) -> torch.device:
    """Return the device of a trial: the first visible GPU if it has GPUs or a fraction of one, else the CPU.

    Raises DeviceMissing where the trial has a GPU and torch sees none.
    """
    if gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceMissing("the trial has a GPU, but torch sees none; set resources.gpus to 0 or check the driver")
    return torch.device("cuda", 0)


def device_kind(device: torch.device) -> str:
    """Return the model name of the device, such as "NVIDIA H200" or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def cpu_clock(device: torch.device) -> Callable[[], float]:
    """Return a function that reads the CPU time of this process and its threads in seconds; NaN for a GPU's trial.

    A trial on a GPU is measured by the time of the GPU, which its process spends waiting.
    """
    return time.process_time if device.type == "cpu" else lambda: math.nan


def synchronise(device: torch.device) -> None:
    """Wait for the device's queued work, so that a timer includes it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory; otherwise a reused worker reports the peak of earlier trials."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the device's peak allocation, or on a CPU the process's peak resident memory; None outside Linux."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
