"""A driver's console output, kept in the sweep's folder too, so that any machine can read it."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.control import Control

from orchestrator.safe_console import SafeConsole
from workers.store.layout import LOGS
from workers.store.log_handler import WRITE_SECONDS, StoreLogHandler
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from workers.store.store import Folder, Store

WIDTH = 200
LOGGER = logging.getLogger(__name__)
LOGGER.setLevel(logging.INFO)
LOGGER.propagate = False  # the console has shown its lines


@contextmanager
def logged_console(console: Console, store: Store, sweep: str, seconds: float = WRITE_SECONDS) -> Iterator[Console]:
    """Give a console for the block whose lines also go to this driver's log; a driver that prints nothing has none.

    A log that cannot be written ends no sweep.
    """
    folder = store.sweep(sweep)
    handler = StoreLogHandler(folder, _next_name(folder), seconds)
    with handler.attached(LOGGER):
        try:
            yield _LoggedConsole(console)
        except BaseException as error:
            if handler.lines:
                LOGGER.error("%s: %s", type(error).__name__, error)  # noqa: TRY400 (its caller shows the trace)
            raise
        finally:
            with suppress(StoreError):
                handler.write()


class _LoggedConsole(SafeConsole):
    """A console like another one, which also logs what it prints."""

    def __init__(self, console: Console) -> None:
        width = None if console.is_terminal else console.width
        super().__init__(file=console.file, highlight=False, markup=False, width=width)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and log what is not about the cursor of a live view."""
        super().print(*objects, **options)
        if not any(isinstance(each, Control) for each in objects):
            plain = SafeConsole(file=io.StringIO(), highlight=False, markup=False, width=WIDTH)
            plain.print(*objects, **options)
            LOGGER.info("%s", plain.file.getvalue().removesuffix("\n"))  # type: ignore[attr-defined]  # StringIO's


def _next_name(folder: Folder) -> str:
    earlier = [int(name[-8:-4]) for name in folder.names(f"{LOGS}/driver-[0-9][0-9][0-9][0-9].txt")]
    return f"{LOGS}/driver-{max(earlier, default=0) + 1:04d}.txt"
