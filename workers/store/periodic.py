"""Repeated actions in a background thread, so that a slow store delays nothing else."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from workers.store.files import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAST_SECONDS = 10.0
"""How long the end of a block waits for an action in progress."""


@contextlib.contextmanager
def every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Repeat an action while the block lasts; one that fails because of the store is retried the next time."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(StoreError, OSError):
                action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LAST_SECONDS)
