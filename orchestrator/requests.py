"""What people ask of a sweep's driver: files in the sweep's folder, from any machine that reaches the store.

Whoever runs the sweep looks at them every few seconds. That a trial is cancelled stays true until it is taken back.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workers.trial_files import FAILURE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workers.files import Hold
    from workers.store import Store

STOP, RETRY, CANCELLED = "stop", "retry", "cancelled"
"""The names in a sweep's folder; the last is a folder with one file for each cancelled trial, named by its id."""


def request_stop(store: Store, sweep: str) -> None:
    """Ask the driver to let what runs checkpoint, and to end."""
    store.sweep(sweep).write(STOP, b"")


def request_retry(store: Store, sweep: str) -> None:
    """Ask the driver to look again at what failed and at what was cancelled."""
    store.sweep(sweep).write(RETRY, b"")


def cancel_trials(store: Store, sweep: str, trial_ids: Iterable[str]) -> None:
    """Ask that these trials stop at their next checkpoint, and are not started again."""
    for trial_id in trial_ids:
        store.sweep(sweep).write(f"{CANCELLED}/{trial_id}", b"")


def cancelled_trials(store: Store, sweep: str) -> frozenset[str]:
    """Return the ids of the trials of a sweep that are cancelled."""
    return frozenset(name.rpartition("/")[2] for name in store.sweep(sweep).names(f"{CANCELLED}/*"))


def forget_ends(store: Store, sweep: str, trial_ids: Iterable[str]) -> None:
    """Remove the marks that these trials failed or were cancelled, so that they are tried anew."""
    for trial_id in trial_ids:
        store.sweep(sweep).remove(f"{CANCELLED}/{trial_id}")
        store.trial(trial_id).remove(FAILURE)


class StopRequest:
    """The wish that running trials checkpoint and stop, and that no other starts."""

    def __init__(self) -> None:
        self._requested = threading.Event()

    def make(self) -> None:
        """Ask for it."""
        self._requested.set()

    @property
    def made(self) -> bool:
        """Whether stopping was asked for."""
        return self._requested.is_set()


class Requests:
    """What is asked of a driver, as last looked at. `look` reads the store, and may be called from any thread.

    A stop that was asked for before this driver was there was meant for another one. A driver that has lost its `hold`
    on the sweep stops: another may run it by now.
    """

    def __init__(self, store: Store, sweep: str, hold: Hold) -> None:
        self.stop = StopRequest()
        self._hold = hold
        self._store, self._sweep, self._folder = store, sweep, store.sweep(sweep)
        self._folder.remove(STOP)
        self._retry = threading.Event()
        self.cancelled = cancelled_trials(store, sweep)

    def look(self) -> None:
        """See what is asked now. Raises StoreError where the store is away."""
        if self._hold.lost():
            self.stop.make()
        self.cancelled = cancelled_trials(self._store, self._sweep)
        if self._folder.read(RETRY) is not None:
            self._folder.remove(RETRY)
            self._retry.set()
        if self._folder.read(STOP) is not None:
            self._folder.remove(STOP)
            self.stop.make()

    def take_retry(self) -> bool:
        """Whether another look at what failed or was cancelled was asked for, since this was last asked."""
        asked = self._retry.is_set()
        self._retry.clear()
        return asked
