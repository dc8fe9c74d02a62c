"""A driver's heartbeat: its status in `driver.json` of the sweep's folder, written every few seconds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.execution.callbacks import Callback
from orchestrator.monitoring.driver_status import (
    DRIVER,
    ENDED,
    HEARTBEAT_SECONDS,
    RUNNING,
    STOPPING,
    WAITING,
    DriverStatus,
    RunningTrial,
)
from workers.outcome import Progress, TrialState
from workers.store.periodic import every
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.planning.plan import PlannedTrial
    from orchestrator.scheduling.resources import Node
    from workers.outcome import Outcome
    from workers.store.store import Folder


NO_PROGRESS = Progress(0.0, 0, None)
_COUNTED = (TrialState.DONE, TrialState.FAILED, "interruptions", "preemptions")


@dataclass
class _Running:
    planned: PlannedTrial
    ranks: int
    since: float
    progress: Progress = NO_PROGRESS
    progress_at: float | None = None
    examples_per_second: float | None = None

    @property
    def share(self) -> float:
        """Which part of its epochs is done."""
        return self.progress.epoch / self.progress.epochs if self.progress.epochs else 0.0

    def update(self, progress: Progress, now: float) -> None:
        if self.progress_at is not None and now > self.progress_at:
            self.examples_per_second = (progress.examples - self.progress.examples) / (now - self.progress_at)
        self.progress, self.progress_at = progress, now

    def device_seconds(self, now: float) -> float:
        return self.ranks * self.planned.resources.rank_devices(self.planned.trial.training) * (now - self.since)

    def status(self, trial_id: str, now: float) -> RunningTrial:
        progress = self.progress
        return RunningTrial(trial_id, progress.epoch, progress.epochs, progress.elbo, now - self.since, self.ranks)


class Heartbeat(Callback):
    """Follows the trials of a driver, and writes the driver's status every few seconds from its start to its end.

    `job` is the id that the cluster knows the driver by.
    """

    def __init__(self, folder: Folder, *, job: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._job, self._clock = folder, job, clock
        self._begun_at = clock()
        self._left: dict[str, PlannedTrial] = {}
        self._expected: Mapping[str, float] = {}
        self._ended_expected = self._ended_actual = 0.0
        self._slots = 1.0
        self._nodes: Callable[[], Sequence[Node]] = tuple
        self._seen: Sequence[Node] = ()
        self._seen_at = -float("inf")
        self._device_seconds: float | None = None
        self._running: dict[str, _Running] = {}
        self._counts: Counter[str] = Counter()
        self._why = ""
        self._stopping = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def kept_up(self) -> Iterator[Heartbeat]:
        """Write every five seconds while the block lasts, and once more after it."""
        self._write()
        try:
            with every(HEARTBEAT_SECONDS, self._write):
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
        seconds: Mapping[str, float] | None = None,
        slots: float = 1.0,
    ) -> Iterator[None]:
        """Report on these trials, and on the nodes there are, while the block lasts.

        `used` are the device-seconds of earlier attempts. `seconds` are expected for each trial; `slots` run at once.
        """
        with self._lock:
            self._left = {planned.trial_id: planned for planned in trials}
            self._expected, self._slots = seconds or {}, max(1.0, slots)
            self._ended_expected = self._ended_actual = 0.0
            self._nodes, self._device_seconds = nodes, used
            self._see_nodes()
        self._write()
        try:
            yield
        finally:
            with self._lock:
                self._left, self._running = {}, {}
                self._nodes, self._seen, self._why = tuple, (), ""

    def started(self, trial_id: str, ranks: int) -> None:
        """Count the trial as running."""
        with self._lock:
            self._running[trial_id] = _Running(self._left[trial_id], ranks, self._clock())

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """Note the trial's progress."""
        with self._lock:
            self._running[trial_id].update(progress, self._clock())

    def interrupted(self, trial_id: str, attempts: int, why: str) -> None:  # noqa: ARG002 (the callback's)
        """Count an interruption."""
        self._stopped(trial_id, "interruptions")

    def preempted(self, trial_id: str) -> None:
        """Count a preemption."""
        self._stopped(trial_id, "preemptions")

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """Count how the trial ended."""
        running = self._stopped(trial_id, outcome.state)
        with self._lock:
            del self._left[trial_id]
            if running is not None and outcome.state == TrialState.DONE:
                self._ended_expected += self._expected.get(trial_id, 0.0)
                self._ended_actual += self._clock() - running.since

    def held_back(self, why: str) -> None:
        """Note why nothing may start."""
        self._why = why

    def stopping(self) -> None:
        """Note that running trials were asked to stop."""
        self._stopping = True

    def tick(self) -> None:
        """Read which nodes there are: here, because the thread that writes may outlive the connection to Ray."""
        if self._clock() - self._seen_at >= HEARTBEAT_SECONDS:
            self._see_nodes()

    def snapshot(self) -> DriverStatus:
        """Return the status of the running driver."""
        with self._lock:
            now = self._clock()
            running = self._running
            rates = [each.examples_per_second for each in running.values() if each.examples_per_second is not None]
            waiting = len(self._left) - len(running)
            return DriverStatus(
                at=now,
                state=self._state(waiting),
                host=socket.gethostname(),
                pid=os.getpid(),
                job=self._job,
                why=self._why if waiting else "",
                nodes=len(self._seen),
                devices={"CPU": self._in_use("cpus"), "GPU": self._in_use("gpus")},
                running=tuple(each.status(trial_id, now) for trial_id, each in running.items()),
                waiting=waiting,
                **{name: self._counts[name] for name in _COUNTED},
                examples_per_second=sum(rates) if rates else None,
                seconds_left=self._seconds_left(now),
                elapsed_seconds=now - self._begun_at,
                device_seconds=self._used(now),
            )

    def _see_nodes(self) -> None:
        self._seen, self._seen_at = self._nodes(), self._clock()

    def _in_use(self, what: str) -> tuple[float, float]:
        used = sum(getattr(each.planned.resources, what) * each.ranks for each in self._running.values())
        return used, sum(getattr(node, what) for node in self._seen)

    def _state(self, waiting: int) -> str:
        if self._stopping:
            return STOPPING
        return WAITING if waiting and not self._running else RUNNING

    def _seconds_left(self, now: float) -> float | None:
        """Return the expected seconds of what is left, corrected by how long trials have taken so far."""
        left = sum(self._expected.get(trial_id, 0.0) for trial_id in self._left)
        if not left:
            return None
        actual, expected = self._ended_actual, self._ended_expected
        for trial_id, running in self._running.items():
            if part := self._expected.get(trial_id, 0.0) * running.share:
                left, actual, expected = left - part, actual + now - running.since, expected + part
        return left * (actual / expected if expected else 1.0) / self._slots

    def _used(self, now: float) -> float | None:
        if self._device_seconds is None:
            return None
        return self._device_seconds + sum(each.device_seconds(now) for each in self._running.values())

    def _stopped(self, trial_id: str, counted: str) -> _Running | None:
        with self._lock:
            self._counts[counted] += 1
            running = self._running.pop(trial_id, None)
            if running is not None and self._device_seconds is not None:
                self._device_seconds += running.device_seconds(self._clock())
            return running

    def _write(self, state: str | None = None) -> None:
        status = self.snapshot()
        with contextlib.suppress(StoreError, OSError):
            self._folder.write_json(DRIVER, replace(status, state=state or status.state).to_json())
