"""What a driver prints, kept in the sweep's folder too, so that it can be read from any machine."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.control import Control

from workers.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.store import Folder, Store

LOGS = "log"
WRITE_SECONDS = 5.0
WIDTH = 200


def driver_logs(store: Store, sweep: str) -> list[str]:
    """Return the names of the logs of a sweep's drivers in its folder, in the order they ran."""
    return store.sweep(sweep).names(f"{LOGS}/driver-*.txt")


@contextmanager
def logged_console(console: Console, store: Store, sweep: str) -> Iterator[Console]:
    """Give a console for the block whose lines also go to a log of this driver's own.

    A driver that ends before it has said anything leaves none.
    """
    log = _Log(store, sweep)
    try:
        yield _LoggedConsole(console, log)
    except BaseException as error:
        log.add(f"{type(error).__name__}: {error}\n", begin=False)
        raise
    finally:
        log.close()


class _LoggedConsole(Console):
    """A console like another one, that tells a log what it prints."""

    def __init__(self, console: Console, log: _Log) -> None:
        width = None if console.is_terminal else console.width
        super().__init__(file=console.file, highlight=False, markup=False, width=width)
        self._log = log

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and log what is not about the cursor of a live view."""
        super().print(*objects, **options)
        if not any(isinstance(each, Control) for each in objects):
            plain = Console(file=io.StringIO(), highlight=False, markup=False, width=WIDTH)
            plain.print(*objects, **options)
            self._log.add(plain.file.getvalue())  # type: ignore[attr-defined]  # the StringIO from above


class _Log:
    """Lines that are written together, some seconds after the first of them, by one thread at a time."""

    def __init__(self, store: Store, sweep: str) -> None:
        self._store = store
        self._sweep = sweep
        self._text = ""
        self._written = 0
        self._name: str | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def add(self, text: str, *, begin: bool = True) -> None:
        """Take lines; `begin` says whether they may be the first."""
        with self._lock:
            if not begin and not self._text:
                return
            self._text += text
            if self._timer is None:
                self._timer = threading.Timer(WRITE_SECONDS, self._write)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._write()

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                self._timer = None
                text = self._text
            if len(text) == self._written:
                return
            folder = self._store.sweep(self._sweep)
            try:
                self._name = self._name or self._next_name(folder)
                folder.write(self._name, text.encode())
            except StoreError:
                return  # a log that cannot be kept ends no sweep; the next lines try again
            self._written = len(text)

    def _next_name(self, folder: Folder) -> str:
        earlier = [int(name[-8:-4]) for name in folder.names(f"{LOGS}/driver-[0-9][0-9][0-9][0-9].txt")]
        return f"{LOGS}/driver-{max(earlier, default=0) + 1:04d}.txt"
