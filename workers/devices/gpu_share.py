"""A trial's measured share of a GPU of which it has a fraction, from NVIDIA's management library (NVML).

NVML reports the part of the time since the last query in which each process had work on the board. The share is this
process's part over the sum of all parts, so the shares of all processes add up to 1, and a process alone on a board
has the share 1. NVML distinguishes processes, not trials: for several trials in one process it gives the sum.
A trial on a CPU has one whole core for each thread, so there is no share to measure.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from workers.devices import nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    _Samples = Callable[[int], Sequence["Sample"]]

PERIOD_SECONDS = 1.0
FULL_PERCENT = 100


@dataclass(frozen=True)
class Usage:
    """The busy time of a GPU in seconds: for this process, and for all processes."""

    own: float = 0.0
    everybody: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.own + other.own, self.everybody + other.everybody)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.own - other.own, self.everybody - other.everybody)


class Sample(NamedTuple):
    """A process's use of a GPU before `taken_at`, in microseconds since 1970."""

    pid: int
    taken_at: int
    percent: int


class ShareMeter:
    """Adds up the samples of one GPU while `running`; `usage` is the sum so far, zero where NVML gives no samples.

    `samples` returns the samples after a time, `pid` is this process's number in them, `clock` measures seconds.
    """

    def __init__(self, samples: _Samples, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.usage = Usage()
        self._samples = samples
        self._pid = pid
        self._clock = clock
        # Earlier samples belong to earlier trials, perhaps of this process.
        self._last = _newest(samples(0))
        self._read_at = clock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Read the samples every second, in a thread, during the block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._read_until, args=(stop,), name="device-share", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def read(self) -> None:
        """Add the samples taken since the last reading."""
        now = self._clock()
        new = [sample for sample in self._samples(self._last) if sample.taken_at > self._last]
        per_percent = (now - self._read_at) / FULL_PERCENT
        own = per_percent * sum(sample.percent for sample in new if sample.pid == self._pid)
        # One assignment: the accountant reads it from another thread.
        self.usage += Usage(own, per_percent * sum(sample.percent for sample in new))
        self._read_at = now
        # Without new samples the machine's clock may have been set back: then continue from the newest of all.
        self._last = _newest(new) or _newest(self._samples(0)) or self._last

    def _read_until(self, stop: threading.Event) -> None:
        while not stop.wait(PERIOD_SECONDS):
            self.read()


def share_meter(device: torch.device, device_count: float) -> ShareMeter | None:
    """Return the meter of a trial's share of a GPU; None unless it has a fraction of one and NVML has samples."""
    if device.type != "cuda" or not 0 < device_count < 1:
        return None
    return board_share(str(torch.cuda.get_device_properties(device).uuid))


def board_share(uuid: str, proc: Path = Path("/proc")) -> ShareMeter | None:
    """Return the meter of this process's share of a board, given torch's UUID; None where it cannot be measured."""
    found = nvml.boards([uuid])
    pid = host_pid(proc)
    if found is None or pid is None:
        return None
    library, (board,) = found
    return ShareMeter(functools.partial(_read_samples, library, board), pid)


def host_pid(proc: Path = Path("/proc")) -> int | None:
    """Return this process's number on the machine itself, which NVML uses; None where only a container's is visible.

    The first number of NSpid belongs to the namespace of `proc`, and only the machine's namespace has the kernel's
    threads. A number from a container may be that of another process on the machine.
    """
    try:
        if (proc / "2/comm").read_text().strip() != "kthreadd":
            return None
        lines = (proc / "self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("NSpid:")), None)


def _read_samples(library: Any, board: Any, after: int) -> Sequence[Sample]:
    try:
        found = library.nvmlDeviceGetProcessUtilization(board, after)
    except library.NVMLError:
        return ()
    # Some drivers report utilisations of billions; these are left out.
    return [Sample(one.pid, one.timeStamp, one.smUtil) for one in found if one.smUtil <= FULL_PERCENT]


def _newest(samples: Sequence[Sample]) -> int:
    return max((sample.taken_at for sample in samples), default=0)
