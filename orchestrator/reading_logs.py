"""The logs of a sweep's drivers and of its trials' attempts, read from the store and followed there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.driver_log import driver_logs
from orchestrator.drivers import Signs
from orchestrator.errors import SweepError
from orchestrator.ledger import RUNNING, read_ledger
from orchestrator.sweeps import load_sweep, trials_named
from workers.trial_files import LOGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.store import Folder, Store

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class GrowingText:
    """A text that others add to: `read` returns all of it, `has_ended` whether nothing more comes."""

    read: Callable[[], str]
    has_ended: Callable[[], bool]


def driver_text(store: Store, sweep: str) -> GrowingText:
    """Return what the last driver of a sweep said. Raises SweepError where none has."""
    load_sweep(store, sweep)
    names = driver_logs(store, sweep)[-1:]
    if not names:
        raise SweepError(f"no driver of sweep {sweep!r} has said anything yet")
    return GrowingText(lambda: _joined(store.sweep(sweep), names), Signs(store, sweep).have_ended)


def trial_text(store: Store, sweep: str, prefix: str) -> GrowingText:
    """Return what all attempts at a trial said, one after the other. Raises SweepError where there is no such trial."""
    (planned,) = trials_named(load_sweep(store, sweep), [prefix])
    folder, signs = store.trial(planned.trial_id), Signs(store, sweep)

    def has_ended() -> bool:
        # Another sweep may run the trial too.
        status = read_ledger(store, [planned], sweep)[planned.trial_id]
        return status.finished or (status.state != RUNNING and signs.have_ended())

    return GrowingText(lambda: _joined(folder, folder.names(f"{LOGS}/attempt-*.txt")), has_ended)


def follow_text(text: GrowingText, write: Callable[[str], None]) -> None:
    """Write a text as it grows, until it ends."""
    written = 0
    while True:
        # Asked before it is read, so that nothing is left out that came in between.
        ended, content = text.has_ended(), text.read()
        write(content[written:])
        written = len(content)
        if ended:
            return
        time.sleep(LOOK_SECONDS)


def _joined(folder: Folder, names: list[str]) -> str:
    return "".join((folder.read(name) or b"").decode(errors="replace") for name in names)
