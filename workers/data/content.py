"""The content of users' files as sha256, computed once for each state of a file.

The hashes are kept in `<data root>/.prepared/`, where the folder can be written. A file with the same size, times and
inode is not read again: a change of its bytes changes the time of its last status change, which programs cannot set.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from workers.data.dataset import CACHE, DataError
from workers.store.store import Folder, StoreError

if TYPE_CHECKING:
    from pathlib import Path

State = list[int]
"""Size, inode, and times of the last change of content and of status."""


def content_sha256(root: Path, path: Path) -> str:
    """Return the sha256 of a file of a data folder. Raises DataError where it cannot be read or is being written."""
    before = file_state(path)
    folder = Folder(root / CACHE)
    name = f"content-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}.json"
    known = folder.read_json(name)
    if isinstance(known, dict) and known.get("state") == before and isinstance(known.get("sha256"), str):
        return known["sha256"]
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    if file_state(path) != before:
        raise DataError(f"{path}: changed while it was read; wait until it is written, and try again")
    with contextlib.suppress(StoreError):  # a folder that this user cannot write: the file is hashed each time
        folder.write_json(name, {"path": str(path), "state": before, "sha256": digest})
    return digest


def file_state(path: Path) -> State:
    """Return what changes whenever a file's content does. Raises DataError where there is no such file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}; check the file and its permissions")
