"""The metrics of one trial as JSON lines in its folder, from which they are forwarded to tracking servers.

One line is one call: `{"step": 3, "timestamp_ms": 1700000000000, "metrics": {"train/elbo": -91.5}}`. On a disk
a line is appended to the file. On an object store, where nothing can be appended, the whole object is written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.store.files import sync_folder
from workers.store.layout import METRIC_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.store.store import Folder

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """The metrics logged at one step, and the time (milliseconds since 1970, UTC)."""

    step: int
    timestamp_ms: int
    metrics: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class StoredLog:
    """A log in a folder of an object store."""

    folder: Folder
    name: str

    def __str__(self) -> str:
        return self.folder.place(self.name)


LogPlace = Path | StoredLog


def log_in(folder: Folder) -> LogPlace:
    """Return the place of the log in a trial's folder."""
    return folder.path(METRIC_LOG) if folder.is_local else StoredLog(folder, METRIC_LOG)


class MetricLog:
    """An append-only log with one value for every (metric, step).

    A resumed trial that repeats an epoch appends nothing for it: the first value and its timestamp stay, so
    forwarding the log again doubles nothing. Opening removes the incomplete last line that a kill in the middle of a
    write leaves. One process writes a log at a time.
    """

    def __init__(self, place: LogPlace) -> None:
        self._lines = _AppendedLines(place) if isinstance(place, Path) else _RewrittenLines(place)
        entries, _ = read_entries(place, 0)
        self._logged: dict[tuple[str, int], float] = {}
        for entry in entries:
            for name, value in entry.metrics:
                self._logged.setdefault((name, entry.step), value)

    def free_step(self, step: int, name: str, value: float) -> int:
        """Return the first step from `step` on at which the metric has this value, or none yet."""
        while self._logged.get((name, step), value) != value:
            step += 1
        return step

    def append(self, step: int, metrics: Mapping[str, float], timestamp_ms: int) -> None:
        """Write the new ones of these metrics as one line that survives a power cut once this returns.

        Raises OSError or StoreError where the line cannot be written; the log is then unchanged.
        """
        new = {name: float(value) for name, value in metrics.items() if (name, step) not in self._logged}
        if not new:
            return
        self._lines.append(_to_line(step, timestamp_ms, new))
        self._logged.update({(name, step): value for name, value in new.items()})


class _AppendedLines:
    """Lines of a file on a disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _remove_torn_line(path)

    def append(self, line: bytes) -> None:
        # An append that failed (a full disk) may have left half a line, which would spoil this one.
        _remove_torn_line(self._path)
        _append_synced(self._path, line)


class _RewrittenLines:
    """Lines of an object, kept in memory because the object is written whole each time."""

    def __init__(self, log: StoredLog) -> None:
        self._log = log
        content = log.folder.read(log.name) or b""
        self._content = content[: content.rfind(b"\n") + 1]

    def append(self, line: bytes) -> None:
        self._log.folder.write(self._log.name, self._content + line)
        self._content += line


def read_entries(place: LogPlace, offset: int) -> tuple[list[Entry], int]:
    """Return the complete entries from byte `offset` on, and the offset to read from the next time.

    A missing log has no entries. An unfinished last line waits for the next read. A damaged line is skipped
    with a warning. An offset behind the end (another log replaced this one) reads from the start.
    """
    content, start = _read_from(place, offset)
    complete = content[: content.rfind(b"\n") + 1]
    entries = [_parse(line, place) for line in complete.split(b"\n")[:-1]]
    return [entry for entry in entries if entry is not None], start + len(complete)


def log_id(place: LogPlace) -> str | None:
    """Return the identity of this log among those of the same trial: a hash of its first line, if it has one."""
    first = _first_line(place)
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") else None


def log_bytes(place: LogPlace) -> int:
    """Return the size of a log; a missing one has none."""
    if isinstance(place, StoredLog):
        return place.folder.sizes([place.name]).get(place.name, 0)
    try:
        return place.stat().st_size
    except FileNotFoundError:
        return 0


def _read_from(place: LogPlace, offset: int) -> tuple[bytes, int]:
    if isinstance(place, StoredLog):
        content = place.folder.read(place.name) or b""
        start = offset if offset <= len(content) else 0
        return content[start:], start
    try:
        with place.open("rb") as handle:
            start = offset if offset <= os.fstat(handle.fileno()).st_size else 0
            handle.seek(start)
            return handle.read(), start
    except FileNotFoundError:
        return b"", 0


def _first_line(place: LogPlace) -> bytes:
    if isinstance(place, StoredLog):
        return b"".join((place.folder.read(place.name) or b"").splitlines(keepends=True)[:1])
    try:
        with place.open("rb") as handle:
            return handle.readline()
    except FileNotFoundError:
        return b""


def _to_line(step: int, timestamp_ms: int, metrics: Mapping[str, float]) -> bytes:
    values = {name: _to_json(value) for name, value in metrics.items()}
    record = {"step": int(step), "timestamp_ms": int(timestamp_ms), "metrics": values}
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _to_json(value: float) -> float | str:
    # JSON has no NaN and no infinity; as strings every parser reads them, and float() turns them back.
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _parse(line: bytes, place: LogPlace) -> Entry | None:
    try:
        record: dict[str, Any] = json.loads(line)
        metrics = tuple((str(name), float(value)) for name, value in record["metrics"].items())
        return Entry(int(record["step"]), int(record["timestamp_ms"]), metrics)
    except (ValueError, KeyError, TypeError, AttributeError):
        _logger.warning("%s: a line is damaged and was skipped: %.80r", place, line)
        return None


def _append_synced(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab", buffering=0) as handle:
        written = handle.write(line)
        os.fsync(handle.fileno())
    if written != len(line):
        _remove_torn_line(path)
        raise OSError(f"{path}: only {written} of {len(line)} bytes could be written; is the disk full?")
    if is_new:
        sync_folder(path.parent)


def _remove_torn_line(path: Path) -> None:
    try:
        handle = path.open("r+b")
    except FileNotFoundError:
        return
    with handle:
        content_bytes = handle.seek(0, os.SEEK_END)
        if content_bytes == 0:
            return
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) == b"\n":
            return
        handle.seek(0)
        handle.truncate(handle.read().rfind(b"\n") + 1)
