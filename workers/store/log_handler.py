"""Log files in the store."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from workers.store.periodic import every

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.store.store import Folder

WRITE_SECONDS = 5.0


class StoreLogHandler(logging.Handler):
    """Writes records into one file of the store, which is replaced as a whole: object stores cannot append.

    While it is `attached` to a logger a thread writes what is new every `seconds`, so a killed process loses no more.
    """

    def __init__(self, folder: Folder, name: str, seconds: float = WRITE_SECONDS) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._folder, self._file, self._seconds = folder, name, seconds
        self._written = 0
        self._writing = threading.Lock()

    @contextlib.contextmanager
    def attached(self, logger: logging.Logger) -> Iterator[None]:
        """Keep the records that reach a logger while the block lasts; the block's end writes nothing."""
        logger.addHandler(self)
        try:
            with every(self._seconds, self.write):
                yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record for the next write."""
        try:
            self.lines.append(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 (a library's record with wrong arguments must not end a trial)
            self.handleError(record)

    def write(self) -> None:
        """Write what is new. Raises StoreError where it cannot be written."""
        with self._writing:  # A slow write must not be overtaken by a later one, which has more lines.
            count = len(self.lines)
            if count > self._written:
                self._folder.write(self._file, "".join(self.lines[:count]).encode())
                self._written = count
