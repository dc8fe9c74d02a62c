"""The log of one attempt at a trial, for people: where it ran, what it went on from, its epochs, warnings and end.

`log/attempt-<n>.txt` in the trial's folder. It is written whole, every few seconds at most, because an object store
knows no appending; a killed attempt's log ends with the last such write.
"""

from __future__ import annotations

import os
import socket
import traceback
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, TextIO

from workers.measuring import Interrupted
from workers.store import StoreError
from workers.trial_files import LOGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from workers.store import Folder

WRITE_SECONDS = 5.0
OFTEN_SECONDS = 10.0


def attempt_log_name(attempt: int) -> str:
    """Return the name of an attempt's log in its trial's folder; names sort as the attempts do, up to 9,999."""
    return f"{LOGS}/attempt-{attempt:04d}.txt"


class AttemptLog:
    """Collects lines for the block, and keeps them. Raises StoreError where they cannot be written."""

    def __init__(
        self, folder: Folder, attempt: int, device: str, *, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._attempt = attempt
        self._device = device
        self._clock = clock
        self._now = now
        self._lines: list[str] = []
        self._written_at: float | None = None
        self._often_at: float | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._warnings.__enter__()
        shown = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            shown(message, category, filename, lineno, file, line)
            self.say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")

        warnings.showwarning = show
        self.say(f"attempt {self._attempt} on {socket.gethostname()}, process {os.getpid()}, {self._device}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._warnings.__exit__(None, None, None)
        if error is None:
            self._add("done")
        elif isinstance(error, Interrupted):
            self._add("stopped as asked, after a checkpoint")
        else:
            self._add("".join(traceback.format_exception(kind, error, trace)).rstrip())
        try:
            self._write()
        except StoreError:
            # A store that fails is most likely what ended the attempt; that it did must be told, not this.
            if error is None:
                raise

    def say(self, line: str, *, at_once: bool = False) -> None:
        """Add a line, dated; it is written soon, or at once."""
        self._add(line)
        if at_once or self._written_at is None or self._clock() - self._written_at >= WRITE_SECONDS:
            self._write()

    def say_one_of(self, line: str) -> None:
        """Add a line of a kind that comes often: one in ten seconds is kept, so that long logs stay readable."""
        if self._often_at is None or self._clock() - self._often_at >= OFTEN_SECONDS:
            self._often_at = self._clock()
            self.say(line)

    def _add(self, line: str) -> None:
        self._lines.append(f"{datetime.fromtimestamp(self._now(), UTC):%Y-%m-%d %H:%M:%S}Z {line}\n")

    def _write(self) -> None:
        self._folder.write(attempt_log_name(self._attempt), "".join(self._lines).encode())
        self._written_at = self._clock()
