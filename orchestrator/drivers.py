"""How a sweep's driver stands, as it last wrote into `driver.json`: for whoever looks from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.store import Store

DRIVER = "driver.json"
RUNNING, STOPPING, WAITING, ENDED = "running", "stopping", "waiting", "ended"


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
