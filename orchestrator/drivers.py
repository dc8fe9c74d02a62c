"""How a sweep's driver stands, as it last wrote into `driver.json`: for whoever looks from elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.store import Store

DRIVER = "driver.json"
RUNNING, STOPPING, WAITING, ENDED = "running", "stopping", "waiting", "ended"
PULSE_SECONDS = 5.0
"""How often a driver writes."""
SILENT_SECONDS = 120.0
"""After how long without a sign of life a driver is taken for gone."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs, how far it is, and for how many seconds."""

    trial_id: str
    epoch: float
    epochs: int
    elbo: float | None
    seconds: float
    ranks: int


@dataclass(frozen=True)
class Driver:
    """A driver's own account. `at` is by the clock of its machine; `devices` maps a kind to (in use, there)."""

    at: float
    state: str
    host: str = ""
    pid: int = 0
    job: str | None = None
    why: str = ""
    nodes: int = 0
    devices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    running: tuple[RunningTrial, ...] = ()
    waiting: int = 0
    interruptions: int = 0
    preemptions: int = 0
    examples_per_second: float | None = None
    seconds_left: float | None = None
    device_seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it has said that it is over; one that was killed never does."""
        return self.state == ENDED


class Signs:
    """The signs of life of a sweep's driver, looked for again and again.

    Whether it lives is judged by whether it writes, on our own clock: that of its machine may be wrong.
    """

    def __init__(
        self,
        store: Store,
        sweep: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._sweep, self._clock, self._now = store, sweep, clock, now
        self._begun_at = self._heard_at = clock()
        self._wrote_at: float | None = None

    def look(self) -> tuple[Driver | None, float]:
        """Return what the driver last wrote, and the seconds since its last sign of life, as far as can be told."""
        driver = read_driver(self._store, self._sweep)
        if driver is None:
            return None, 0.0
        if self._wrote_at is None:
            # Before the first change is seen, the two clocks are all there is to go by.
            self._heard_at = self._clock() - max(0.0, self._now() - driver.at)
        elif driver.at != self._wrote_at:
            self._heard_at = self._clock()
        self._wrote_at = driver.at
        return driver, self._clock() - self._heard_at

    def have_ended(self) -> bool:
        """Look, and return whether no more can come: there is no driver, or it said so, or it has fallen silent."""
        driver, silent = self.look()
        if driver is None or driver.ended:
            return True
        # A clock that is behind shows as silence until the next time that a driver writes.
        return silent > SILENT_SECONDS and self._clock() - self._begun_at > 3 * PULSE_SECONDS


def read_driver(store: Store, sweep: str) -> Driver | None:
    """Return what a sweep's last driver wrote, or None where none did; what is missing in it is left out."""
    record = store.sweep(sweep).read_json(DRIVER)
    if not isinstance(record, dict):
        return None
    devices = {
        kind: (float(entry.get("used", 0.0)), float(entry.get("total", 0.0)))
        for kind, entry in (record.get("devices") or {}).items()
    }
    return Driver(
        at=float(record.get("at", 0.0)),
        state=str(record.get("state", RUNNING)),
        host=str(record.get("host", "")),
        pid=int(record.get("pid", 0)),
        job=record.get("job"),
        why=str(record.get("why") or ""),
        nodes=int(record.get("nodes", 0)),
        devices=devices,
        running=tuple(_running(entry) for entry in record.get("running") or ()),
        waiting=int(record.get("waiting", 0)),
        interruptions=int(record.get("interruptions", 0)),
        preemptions=int(record.get("preemptions", 0)),
        examples_per_second=record.get("examples_per_second"),
        seconds_left=record.get("seconds_left"),
        device_seconds=record.get("device_seconds"),
    )


def _running(entry: Mapping[str, Any]) -> RunningTrial:
    return RunningTrial(
        trial_id=str(entry.get("trial_id", "")),
        epoch=float(entry.get("epoch") or 0.0),
        epochs=int(entry.get("epochs") or 0),
        elbo=entry.get("elbo"),
        seconds=float(entry.get("seconds") or 0.0),
        ranks=int(entry.get("ranks") or 1),
    )
