"""What people ask of a sweep's driver: files in the sweep's folder, from any machine that reaches the store.

Whoever runs the sweep looks at them every few seconds. That a trial is cancelled stays true until it is taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.trial_files import FAILURE

if TYPE_CHECKING:
    from collections.abc import Iterable

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
