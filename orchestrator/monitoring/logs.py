"""The logs of a sweep's drivers and of the attempts at its trials, read from the store and followed there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import SweepError
from orchestrator.monitoring.driver_status import Liveness
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import load_sweep, trials_named
from workers.outcome import TrialState
from workers.store.layout import LOGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.store.store import Folder, Store

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class GrowingLog:
    """A log that is being written: `read` returns all of it, `has_ended` whether it is complete."""

    read: Callable[[], str]
    has_ended: Callable[[], bool]


def driver_log(store: Store, sweep: str) -> GrowingLog:
    """Return the log of a sweep's last driver. Raises SweepError where there is none."""
    load_sweep(store, sweep)
    names = driver_logs(store, sweep)[-1:]
    if not names:
        raise SweepError(f"no driver of sweep {sweep!r} has logged anything yet")
    return GrowingLog(lambda: _joined(store.sweep(sweep), names), Liveness(store, sweep).has_ended)


def trial_log(store: Store, sweep: str, prefix: str) -> GrowingLog:
    """Return the logs of all attempts at a trial as one. Raises SweepError where there is no such trial."""
    (planned,) = trials_named(load_sweep(store, sweep), [prefix])
    folder, liveness = store.trial(planned.trial_id), Liveness(store, sweep)

    def has_ended() -> bool:
        # Another sweep may run the trial too.
        status = read_statuses(store, [planned], sweep)[planned.trial_id]
        return status.finished or (status.state != TrialState.RUNNING and liveness.has_ended())

    return GrowingLog(lambda: _joined(folder, folder.names(f"{LOGS}/attempt-*.txt")), has_ended)


def driver_logs(store: Store, sweep: str) -> list[str]:
    """Return the names of the logs of a sweep's drivers in its folder, in the order they ran."""
    return store.sweep(sweep).names(f"{LOGS}/driver-*.txt")


def follow_log(log: GrowingLog, write: Callable[[str], None]) -> None:
    """Write a log as it grows, until it is complete."""
    written = 0
    while True:
        # Asked before the log is read, so that nothing written in between is left out.
        ended, content = log.has_ended(), log.read()
        write(content[written:])
        written = len(content)
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _joined(folder: Folder, names: list[str]) -> str:
    return "".join((folder.read(name) or b"").decode(errors="replace") for name in names)
