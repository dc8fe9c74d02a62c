"""How a sweep's driver stands, for whoever looks from elsewhere: `driver.json` in the sweep's folder."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.drivers import DRIVER, ENDED, PULSE_SECONDS, RUNNING, STOPPING, WAITING
from orchestrator.periodic import every
from workers.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.admission import Node
    from orchestrator.plan import PlannedTrial
    from workers.outcome import Outcome, Progress
    from workers.store import Folder
    from workers.trial import Resources


@dataclass
class _Running:
    resources: Resources
    ranks: int
    since: float
    progress: Progress | None = None
    at: float = 0.0
    examples_per_second: float | None = None

    def hear(self, progress: Progress, now: float) -> None:
        if self.progress is not None and now > self.at:
            self.examples_per_second = (progress.examples - self.progress.examples) / (now - self.at)
        self.progress, self.at = progress, now

    def device_seconds(self, now: float) -> float:
        return (self.resources.gpus or self.resources.cpus) * self.ranks * (now - self.since)

    def as_json(self, trial_id: str, now: float) -> dict[str, Any]:
        progress = self.progress
        return {
            "trial_id": trial_id,
            "epoch": progress.epoch if progress else 0.0,
            "epochs": progress.epochs if progress else None,
            "elbo": progress.elbo if progress else None,
            "seconds": now - self.since,
            "ranks": self.ranks,
        }


class Pulse:
    """Hears of trials as `listeners.Listener`, and writes now and then how a driver stands, from its start to its end.

    `job` is the id that the cluster knows the driver by.
    """

    def __init__(self, folder: Folder, *, job: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._job, self._clock = folder, job, clock
        self._left: dict[str, Resources] = {}
        self._nodes: Callable[[], Sequence[Node]] = tuple
        self._seen: Sequence[Node] = ()
        self._seen_at = -float("inf")
        self._seconds_left: Callable[[], float | None] = lambda: None
        self._device_seconds: float | None = None
        self._running: dict[str, _Running] = {}
        self._counts: Counter[str] = Counter()
        self._why = ""
        self._stopping = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def beating(self) -> Iterator[Pulse]:
        """Write every five seconds while the block lasts, and once more after it."""
        self._write()
        try:
            with every(PULSE_SECONDS, self._write):
                yield self
        finally:
            self._write(ENDED)

    @contextlib.contextmanager
    def stage(
        self,
        trials: Sequence[PlannedTrial],
        nodes: Callable[[], Sequence[Node]],
        *,
        used: float = 0.0,
        seconds_left: Callable[[], float | None] = lambda: None,
    ) -> Iterator[None]:
        """Tell of these trials while the block lasts, and of the nodes there are.

        `used` are the device-seconds of earlier attempts. `seconds_left` is what is expected to be left.
        """
        with self._lock:
            self._left = {planned.trial_id: planned.resources for planned in trials}
            self._nodes, self._seconds_left, self._device_seconds = nodes, seconds_left, used
            self._see_nodes()
        self._write()
        try:
            yield
        finally:
            with self._lock:
                self._left, self._running = {}, {}
                self._nodes, self._seen, self._seconds_left, self._why = tuple, (), lambda: None, ""

    def started(self, trial_id: str, ranks: int) -> None:
        """Count the trial as running."""
        with self._lock:
            self._running[trial_id] = _Running(self._left[trial_id], ranks, self._clock())

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """Note how far the trial is."""
        with self._lock:
            self._running[trial_id].hear(progress, self._clock())

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:  # noqa: ARG002 (the listener's)
        """Count an interruption."""
        self._stopped(trial_id, "interruptions")

    def preempted(self, trial_id: str) -> None:
        """Count a preemption."""
        self._stopped(trial_id, "preemptions")

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """Count how the trial ended."""
        self._stopped(trial_id, outcome.state)
        with self._lock:
            del self._left[trial_id]

    def held_back(self, why: str) -> None:
        """Note why nothing may start."""
        self._why = why

    def stopping(self) -> None:
        """Note that running trials were asked to stop."""
        self._stopping = True

    def tick(self) -> None:
        """See which nodes there are: here, because the thread that writes may outlive the connection to Ray."""
        if self._clock() - self._seen_at >= PULSE_SECONDS:
            self._see_nodes()

    def snapshot(self) -> dict[str, Any]:
        """Return what the file says, all but whether the driver has ended."""
        with self._lock:
            now = self._clock()
            running = self._running
            rates = [each.examples_per_second for each in running.values() if each.examples_per_second is not None]
            waiting = len(self._left) - len(running)
            return {
                "at": now,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "job": self._job,
                "state": self._state(waiting),
                "why": self._why if waiting else "",
                "nodes": len(self._seen),
                "devices": {"CPU": self._in_use("cpus"), "GPU": self._in_use("gpus")},
                "running": [each.as_json(trial_id, now) for trial_id, each in running.items()],
                "waiting": waiting,
                **{name: self._counts[name] for name in ("done", "failed", "interruptions", "preemptions")},
                "examples_per_second": sum(rates) if rates else None,
                "seconds_left": self._seconds_left(),
                "device_seconds": self._used(now),
            }

    def _see_nodes(self) -> None:
        self._seen, self._seen_at = self._nodes(), self._clock()

    def _in_use(self, what: str) -> dict[str, float]:
        return {
            "total": sum(getattr(node, what) for node in self._seen),
            "used": sum(getattr(each.resources, what) * each.ranks for each in self._running.values()),
        }

    def _state(self, waiting: int) -> str:
        if self._stopping:
            return STOPPING
        return WAITING if waiting and not self._running else RUNNING

    def _used(self, now: float) -> float | None:
        if self._device_seconds is None:
            return None
        return self._device_seconds + sum(each.device_seconds(now) for each in self._running.values())

    def _stopped(self, trial_id: str, counted: str) -> None:
        with self._lock:
            self._counts[counted] += 1
            running = self._running.pop(trial_id, None)
            if running is not None and self._device_seconds is not None:
                self._device_seconds += running.device_seconds(self._clock())

    def _write(self, state: str | None = None) -> None:
        snapshot = self.snapshot()
        with contextlib.suppress(StoreError, OSError):
            self._folder.write_json(DRIVER, snapshot | ({"state": state} if state else {}))
