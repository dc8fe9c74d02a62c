"""The share of a GPU's work that is a trial's own, where it holds a part of one, as NVIDIA's library (NVML) samples it.

NVML says for what part of the time since the last question each process had work on the board. The share is one's own
part over everybody's, so the shares of all processes add up to the whole board, and whoever is alone on it has it all.
It tells processes apart, not trials: of several trials in one process it knows the sum. On a CPU the device is the
cores that a trial has threads for; those it holds whole by declaration, so there is no share to measure.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workers import nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    _Samples = Callable[[int], Sequence["Sample"]]

PERIOD_SECONDS = 1.0
FULL_PERCENT = 100


@dataclass(frozen=True)
class Usage:
    """How long a GPU has worked, in seconds: for this process, and for all."""

    own: float = 0.0
    everybody: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.own + other.own, self.everybody + other.everybody)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.own - other.own, self.everybody - other.everybody)


class Sample(ctypes.Structure):
    """NVML's nvmlProcessUtilizationSample_t: utilisations in percent, the time in microseconds since 1970."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("timeStamp", ctypes.c_ulonglong),
        ("smUtil", ctypes.c_uint),
        ("memUtil", ctypes.c_uint),
        ("encUtil", ctypes.c_uint),
        ("decUtil", ctypes.c_uint),
    )


class ShareMeter:
    """Adds up the samples of one GPU while `running`; `usage` is the sum so far, and stays zero where nobody tells.

    `samples` returns those after a timestamp, `pid` is this process's number among them, `clock` measures seconds.
    """

    def __init__(self, samples: _Samples, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.usage = Usage()
        self._samples = samples
        self._pid = pid
        self._clock = clock
        # What is sampled already is of whoever ran before, perhaps in this very process.
        self._last = _newest(samples(0))
        self._read_at = clock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Read the samples every second, in a thread, while the block lasts."""
        stop = threading.Event()
        thread = threading.Thread(target=self._read_until, args=(stop,), name="device-share", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def read(self) -> None:
        """Add what was sampled since the last reading."""
        now = self._clock()
        new = [one for one in self._samples(self._last) if one.timeStamp > self._last]
        per_percent = (now - self._read_at) / FULL_PERCENT
        own = per_percent * sum(one.smUtil for one in new if one.pid == self._pid)
        # One assignment: the accountant reads it from another thread.
        self.usage += Usage(own, per_percent * sum(one.smUtil for one in new))
        self._read_at = now
        # Nothing new may mean that the machine's clock was set back: then the newest of all is where it goes on.
        self._last = _newest(new) or _newest(self._samples(0)) or self._last

    def _read_until(self, stop: threading.Event) -> None:
        while not stop.wait(PERIOD_SECONDS):
            self.read()


def share_meter(device: torch.device, device_count: float) -> ShareMeter | None:
    """Return what measures the share of the GPU that a trial holds a part of; None for other devices, and untold."""
    if device.type != "cuda" or not 0 < device_count < 1:
        return None
    return board_share(str(torch.cuda.get_device_properties(device).uuid))


def board_share(uuid: str, library: str = nvml.LIBRARY, proc: Path = Path("/proc")) -> ShareMeter | None:
    """Return what measures this process's share of a board, of which torch gives the UUID; None where nothing tells."""
    arguments = (ctypes.c_void_p, ctypes.POINTER(Sample), ctypes.POINTER(ctypes.c_uint), ctypes.c_ulonglong)
    try:
        read = nvml.function("nvmlDeviceGetProcessUtilization", *arguments, library=library)
        handle = nvml.board(uuid, library)
    except nvml.NVMLError:
        return None
    pid = host_pid(proc)
    return None if pid is None else ShareMeter(functools.partial(_read_samples, read, handle), pid)


def host_pid(proc: Path = Path("/proc")) -> int | None:
    """Return the number that the machine itself gives this process, as NVML does; None where only a container's shows.

    The first number of NSpid is that of the namespace which `proc` shows, and only the machine's own shows the
    kernel's threads: a container's number may be somebody else's on the machine.
    """
    try:
        if (proc / "2/comm").read_text().strip() != "kthreadd":
            return None
        lines = (proc / "self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("NSpid:")), None)


def _read_samples(read: Any, handle: ctypes.c_void_p, after: int) -> Sequence[Sample]:
    count = ctypes.c_uint()
    if read(handle, None, ctypes.byref(count), after) != nvml.INSUFFICIENT_SIZE:
        return ()
    samples = (Sample * count.value)()
    if read(handle, samples, ctypes.byref(count), after) != nvml.SUCCESS:
        return ()
    # Drivers have been seen to add utilisations of billions.
    return [one for one in samples[: count.value] if one.smUtil <= FULL_PERCENT]


def _newest(samples: Sequence[Sample]) -> int:
    return max((one.timeStamp for one in samples), default=0)
