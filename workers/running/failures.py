"""Failure classification: an error is the fault of the trial, of a metric, or of a disk, a network or a machine."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from workers.data.dataset import DataError
from workers.devices.devices import DeviceMissing
from workers.distributed.ranks import EndedByAnotherRank, RankLost
from workers.outcome import Cause, Interrupted, Outcome, TrialFailed, TrialState
from workers.store.failures import FailedMetric
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger(__name__)
LONGEST_CAUSE = 300
"""Characters of an error that are kept beside the result; the log has all."""

_CAUSES: dict[type[Exception], Cause] = {
    RankLost: Cause.RANK_LOST,
    DeviceMissing: Cause.MACHINE,
    StoreError: Cause.STORE,
    OSError: Cause.STORE,
    # Other users of the device share the blame, so a retry may succeed.
    torch.OutOfMemoryError: Cause.DEVICE_MEMORY,
}
_ENDS_THE_ATTEMPT = (Interrupted, EndedByAnotherRank, torch.AcceleratorError)
"""Whatever was being computed: a request, another rank's end, a device that answers nothing more."""


def classify_failure(error: Exception) -> Outcome:
    """Return how an attempt that raised this error ended: interrupted with a cause, or failed."""
    message = str(error)
    cause = next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), None)
    if cause is Cause.DEVICE_MEMORY:
        message = f"device out of memory: {message.splitlines()[0]}"
    if cause is not None:
        return Outcome(TrialState.INTERRUPTED, message, cause)
    if isinstance(error, (TrialFailed, DataError)):
        return Outcome(TrialState.FAILED, message)
    return Outcome(TrialState.FAILED, f"{type(error).__name__}: {message}")


class MetricFailures:
    """The metrics that failed in an evaluation at `of` operating points; their traces are in the attempt's log."""

    def __init__(self, of: int) -> None:
        self._of = of
        self._causes: dict[str, str] = {}
        self._points: Counter[str] = Counter()

    @contextmanager
    def guard(self, metric: str, points: int = 1) -> Iterator[None]:
        """Keep an error of the metric and suppress it, unless it ends the attempt or a retry may succeed."""
        try:
            yield
        except _ENDS_THE_ATTEMPT:
            raise
        except Exception as error:
            failure = classify_failure(error)
            if failure.state != TrialState.FAILED:
                raise
            self._points[metric] += points
            if metric not in self._causes:
                LOGGER.exception("%s failed; all other results are kept", metric)
                self._causes[metric] = " ".join(failure.message.split())[:LONGEST_CAUSE]

    def failed(self) -> tuple[FailedMetric, ...]:
        """Return each metric that failed, with its first cause."""
        return tuple(
            FailedMetric(metric, cause, self._points[metric], self._of) for metric, cause in self._causes.items()
        )
