"""Control files: requests to a sweep's driver, written into the sweep's folder from any machine that reaches the store.

The driver reads them every few seconds. A trial stays cancelled until its file is removed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workers.store.failures import forget_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.planning.plan import PlannedTrial
    from workers.store.files import LockHandle
    from workers.store.store import Store

STOP, RETRY, CANCELLED = "stop", "retry", "cancelled"
"""Names in a sweep's folder; the last is a folder with one file for each cancelled trial, named by its id."""


def request_stop(store: Store, sweep: str) -> None:
    """Ask the driver to end, once the running trials have checkpointed."""
    store.sweep(sweep).write(STOP, b"")


def stop_is_requested(store: Store, sweep: str) -> bool:
    """Whether the current or last driver was asked to end."""
    return store.sweep(sweep).read(STOP) is not None


def forget_stop(store: Store, sweep: str) -> None:
    """Withdraw a stop request to a driver that has ended, so that it does not end the next one."""
    store.sweep(sweep).remove(STOP)


def request_retry(store: Store, sweep: str) -> None:
    """Ask the driver to run failed and cancelled trials whose marks were removed."""
    store.sweep(sweep).write(RETRY, b"")


def cancel_trials(store: Store, sweep: str, trial_ids: Iterable[str]) -> None:
    """Cancel these trials: they stop after a checkpoint, and are not started again."""
    for trial_id in trial_ids:
        store.sweep(sweep).write(f"{CANCELLED}/{trial_id}", b"")


def cancelled_trials(store: Store, sweep: str) -> frozenset[str]:
    """Return the ids of a sweep's cancelled trials."""
    return frozenset(name.rpartition("/")[2] for name in store.sweep(sweep).names(f"{CANCELLED}/*"))


def forget_ends(store: Store, sweep: str, trials: Iterable[PlannedTrial]) -> None:
    """Have these trials retried, which failed, or were cancelled, or lack metrics that failed."""
    for planned in trials:
        store.sweep(sweep).remove(f"{CANCELLED}/{planned.trial_id}")
        forget_failures(store.trial(planned.trial_id), planned.evaluation.eval_id)


class ControlFiles:
    """The requests to a driver, as last read. `read` may be called from any thread.

    A stop request from before this driver was meant for another one. A driver that has lost its `lock` on the sweep
    stops, because another one may run it now.
    """

    def __init__(self, store: Store, sweep: str, lock: LockHandle) -> None:
        self.stop = threading.Event()
        self._lock = lock
        self._store, self._sweep, self._folder = store, sweep, store.sweep(sweep)
        forget_stop(store, sweep)
        self._retry = threading.Event()
        self.cancelled = cancelled_trials(store, sweep)

    def read(self) -> None:
        """Read the current requests. Raises StoreError where the store cannot be read."""
        if self.lock_lost:
            self.stop.set()
        self.cancelled = cancelled_trials(self._store, self._sweep)
        if self._folder.read(RETRY) is not None:
            self._folder.remove(RETRY)
            self._retry.set()
        # The file stays: a submit in the meantime must not take this driver for one that keeps running.
        if stop_is_requested(self._store, self._sweep):
            self.stop.set()

    @property
    def lock_lost(self) -> bool:
        """Whether another process may run the sweep now, because the lock could not be renewed in the store."""
        return self._lock.lost()

    def take_retry(self) -> bool:
        """Whether a retry was requested since this was last called."""
        requested = self._retry.is_set()
        self._retry.clear()
        return requested
