"""The status that a sweep's driver writes into `driver.json`, and whether that driver is alive."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from workers.store.json_files import Record, is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workers.store.store import Store

DRIVER = "driver.json"
RUNNING, STOPPING, WAITING, ENDED = "running", "stopping", "waiting", "ended"
HEARTBEAT_SECONDS = 5.0
"""How often a driver writes its status."""
SILENT_SECONDS = 120.0
"""A driver without a heartbeat for so long counts as dead."""


@dataclass(frozen=True)
class RunningTrial:
    """A running trial: its progress, and for how many seconds it has run."""

    trial_id: str = ""
    epoch: float = 0.0
    epochs: int = 0
    elbo: float | None = None
    seconds: float = 0.0
    ranks: int = 1


@dataclass(frozen=True)
class DriverStatus:
    """The status of a driver. `at` is by the clock of its machine; `devices` maps a kind to (in use, available).

    `done` and `failed` count what has ended since the driver started, `elapsed_seconds` ago.
    """

    at: float = 0.0
    state: str = RUNNING
    host: str = ""
    pid: int = 0
    job: str | None = None
    why: str = ""
    nodes: int = 0
    devices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    running: tuple[RunningTrial, ...] = ()
    waiting: int = 0
    done: int = 0
    failed: int = 0
    interruptions: int = 0
    preemptions: int = 0
    examples_per_second: float | None = None
    seconds_left: float | None = None
    elapsed_seconds: float | None = None
    device_seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the driver reported its end; one that was killed never does."""
        return self.state == ENDED

    def to_json(self) -> dict[str, Any]:
        """Return the status as `driver.json` has it."""
        devices = {kind: {"used": used, "total": total} for kind, (used, total) in self.devices.items()}
        return {**asdict(self), "devices": devices}


class Liveness:
    """Whether a sweep's driver is alive: whether it writes, by this machine's clock, as the driver's may be wrong."""

    def __init__(
        self,
        store: Store,
        sweep: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._sweep, self._clock, self._now = store, sweep, clock, now
        self._begun_at = self._changed_at = clock()
        self._written_at: float | None = None

    def read(self) -> tuple[DriverStatus | None, float]:
        """Return the driver's last status and the seconds since its last heartbeat, as far as can be known."""
        driver = read_driver(self._store, self._sweep)
        if driver is None:
            return None, 0.0
        if self._written_at is None:
            # Before the first change is seen, only comparing the two clocks is possible.
            self._changed_at = self._clock() - max(0.0, self._now() - driver.at)
        elif driver.at != self._written_at:
            self._changed_at = self._clock()
        self._written_at = driver.at
        return driver, self._clock() - self._changed_at

    def has_ended(self) -> bool:
        """Read, and return whether no more can come: there is no driver, it reported its end, or it is silent."""
        driver, silent_seconds = self.read()
        if driver is None or driver.ended:
            return True
        # A clock that is behind looks like silence until the driver writes the next time.
        return silent_seconds > SILENT_SECONDS and self._clock() - self._begun_at > 3 * HEARTBEAT_SECONDS


def read_driver(store: Store, sweep: str) -> DriverStatus | None:
    """Return the status of a sweep's last driver, None where there was none; missing fields have their defaults."""
    record = store.sweep(sweep).read_json(DRIVER)
    if not isinstance(record, dict):
        return None
    devices, running = record.get("devices"), record.get("running")
    used = {kind: _used_and_total(Record(entry)) for kind, entry in _items(devices) if isinstance(entry, dict)}
    trials = [entry for entry in (running if isinstance(running, list) else ()) if isinstance(entry, dict)]
    return replace(
        DriverStatus(**_known(DriverStatus, record)),
        devices=used,
        running=tuple(RunningTrial(**_known(RunningTrial, entry)) for entry in trials),
    )


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _used_and_total(entry: Record) -> tuple[float, float]:
    return entry.number("used") or 0.0, entry.number("total") or 0.0


def _known(kind: type[DriverStatus | RunningTrial], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record that have the type of their field."""
    known = {}
    for each in fields(kind):
        value = record.get(each.name)
        is_text = each.type in {"str", "str | None"}
        is_count = each.type in {"int", "float", "float | None"} and is_number(value)
        if is_count or (is_text and isinstance(value, str)):
            known[each.name] = value
    return known
