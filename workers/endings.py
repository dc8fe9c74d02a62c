"""What an exception makes of an attempt: the trial's own fault, or that of disks, networks and machines."""

from __future__ import annotations

import torch

from workers.data.dataset import DataError
from workers.devices import DeviceMissing
from workers.gang import GangLost
from workers.outcome import Outcome
from workers.store import StoreError
from workers.training import TrialFailed


def ending_of(error: Exception) -> Outcome:
    """Return how an attempt that raised this has ended: interrupted, by what, or failed by itself."""
    message = str(error)
    if isinstance(error, GangLost):
        return Outcome("interrupted", message, "gang")
    if isinstance(error, DeviceMissing):
        return Outcome("interrupted", message, "machine")
    if isinstance(error, (StoreError, OSError)):
        return Outcome("interrupted", message, "store")
    if isinstance(error, torch.OutOfMemoryError):
        # Who else uses the device decides it too, so once more may do.
        return Outcome("interrupted", f"its device ran out of memory: {message.splitlines()[0]}", "memory")
    if isinstance(error, (TrialFailed, DataError)):
        return Outcome("failed", message)
    return Outcome("failed", f"{type(error).__name__}: {message}")
