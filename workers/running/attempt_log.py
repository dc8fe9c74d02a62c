"""The log of one attempt at a trial, for people: `log/attempt-<n>.txt` in the trial's folder.

It says where the attempt ran, from which step it resumed, its epochs, warnings and how it ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import warnings
from typing import TYPE_CHECKING

from workers.outcome import Interrupted
from workers.store.layout import LOGS
from workers.store.log_handler import WRITE_SECONDS, StoreLogHandler
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evaluation.records import HistoryRow
    from workers.store.store import Folder

EPOCH_SECONDS = 10.0
LOGGER = logging.getLogger(__name__)


def attempt_log_name(attempt: int) -> str:
    """Return the name of an attempt's log in its trial's folder; names sort as the attempts do, up to 9,999."""
    return f"{LOGS}/attempt-{attempt:04d}.txt"


@contextlib.contextmanager
def attempt_log(
    folder: Folder, attempt: int, device: str, *, verbose: bool = False, seconds: float = WRITE_SECONDS
) -> Iterator[None]:
    """Log the block: records of `workers`, at `verbose` those of level DEBUG too, and warnings of every library.

    Raises StoreError where the log cannot be written at the block's start, or at its end if the block succeeded.
    """
    handler = StoreLogHandler(folder, attempt_log_name(attempt), seconds)
    handler.setFormatter(_UtcFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%SZ"))
    with _capturing(logging.DEBUG if verbose else logging.INFO), handler.attached(logging.getLogger()):
        LOGGER.info("attempt %d on %s, process %d, %s", attempt, socket.gethostname(), os.getpid(), device)
        handler.write()
        try:
            yield
        except BaseException as error:
            if isinstance(error, Interrupted):
                LOGGER.info("stopped on request, after a checkpoint")
            else:
                LOGGER.exception("the attempt ended with an error")
            # A failing store is most likely what ended the attempt: that error must be reported, not this one.
            with contextlib.suppress(StoreError):
                handler.write()
            raise
        LOGGER.info("done")
        handler.write()


class EpochLog:
    """Logs epochs: one in ten seconds at level INFO, so that logs stay readable, the others at DEBUG."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due_at = -float("inf")

    def log(self, epoch: int, epochs: int, row: HistoryRow) -> None:
        """Log the means of an epoch."""
        level = logging.DEBUG
        if self._clock() >= self._due_at:
            level, self._due_at = logging.INFO, self._clock() + EPOCH_SECONDS
        message = "epoch %d/%d: ELBO %.4f, distortion %.4f, rate %.4f nats"
        LOGGER.log(level, message, epoch, epochs, row.elbo, row.distortion, row.rate_nats)


@contextlib.contextmanager
def _capturing(level: int) -> Iterator[None]:
    """Make records of this program from `level` on, and of all warnings, which go to stderr as well."""
    root, stderr = logging.getLogger(), logging.StreamHandler()
    stderr.setLevel(logging.WARNING)
    logging.getLogger("workers").setLevel(level)
    with warnings.catch_warnings():  # It also forgets which warnings were shown: each attempt's log has its own.
        logging.captureWarnings(True)
        root.addHandler(stderr)
        try:
            yield
        finally:
            root.removeHandler(stderr)
            logging.captureWarnings(False)


class _UtcFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
