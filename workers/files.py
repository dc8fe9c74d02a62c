"""Where a store's bytes lie: what every place offers, and the local disk, which NFS is too.

On a disk a file is written beside its place, synced, and renamed: a reader sees the old file or the new one, never half
of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LOCK = ".lock"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class StoreError(Exception):
    """The store cannot be read or written; the message names the path, the cause and the next step."""


class Hold(Protocol):
    """A folder's lock, held."""

    def lost(self) -> bool:
        """Whether another process may hold the lock by now; its holder must then write nothing more."""


class Files(Protocol):
    """The files below one place. Names are relative to it, with "/" between their parts.

    Every method raises StoreError where the place cannot be used.
    """

    @property
    def lock_seconds(self) -> float:
        """How long a lock may outlive a holder that was killed."""

    @property
    def readers(self) -> int:
        """How many reads are worth making at once."""

    def place(self, name: str) -> str:
        """Return where a file is, for people."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Write one file: readers see what was there before or all of the new bytes."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    def names(self, folder: str, pattern: str) -> list[str]:
        """Return the names below a folder that match a glob pattern, relative to it."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int]:
        """Return the size in bytes of each of these files of a folder that is there."""

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""

    def remove_unfinished(self, folder: str) -> None:
        """Remove what killed writers have left below a folder."""

    def try_lock(self, folder: str) -> contextlib.AbstractContextManager[Hold | None]:
        """Hold a folder's lock for the block; None where another process holds it."""

    def holder_lives(self, folder: str) -> bool:
        """Whether the holder that kept `try_lock` from a folder's lock has shown that it is alive."""

    def is_locked(self, folder: str) -> bool:
        """Whether some process holds a folder's lock; for display."""


class LocalFiles:
    """Files below a folder of this machine's file system."""

    lock_seconds = 0.0
    readers = 1

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def place(self, name: str) -> str:
        """Return the file's path."""
        return str(self.root / name)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _store_error(error, self.root / name) from error

    def write(self, name: str, content: bytes) -> None:
        """Write one file atomically and durably."""
        target = self.root / name
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(temporary, content)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(target.parent)
        except OSError as error:
            raise _store_error(error, target) from error

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise _store_error(error, self.root / name) from error

    def names(self, folder: str, pattern: str) -> list[str]:
        """Return the names below a folder that match a glob pattern."""
        base = self.root / folder
        return [path.relative_to(base).as_posix() for path in base.glob(pattern)]

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        return [path.name for path in (self.root / folder).glob("*/")]

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the files that are there."""
        sizes = {}
        for name in names:
            with contextlib.suppress(OSError):
                sizes[name] = (self.root / folder / name).stat().st_size
        return sizes

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        return (self.root / folder).is_dir()

    def remove_unfinished(self, folder: str) -> None:
        """Remove the temporary files of killed writers."""
        for path in (self.root / folder).rglob(".*.tmp"):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def try_lock(self, folder: str) -> Iterator[Hold | None]:
        """Hold a folder's lock for the block.

        The operating system releases it when its holder dies, however it dies.
        """
        path = self.root / folder
        try:
            path.mkdir(parents=True, exist_ok=True)
            handle = (path / LOCK).open("a")
        except OSError as error:
            raise _store_error(error, path) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            except OSError as error:
                raise _store_error(error, path) from error
            yield _FileLock()

    def holder_lives(self, folder: str) -> bool:  # noqa: ARG002 (a lock of the dead is free)
        """Whether the lock's holder is alive: the operating system keeps no lock of a dead one."""
        return True

    def is_locked(self, folder: str) -> bool:
        """Whether some process holds a folder's lock."""
        if not (self.root / folder / LOCK).exists():
            return False
        with self.try_lock(folder) as held:
            return held is None


class _FileLock:
    def lost(self) -> bool:
        return False  # the operating system gives it to nobody else while this process lives


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_error(error: OSError, path: Path) -> StoreError:
    if error.errno in _NO_SPACE:
        cause = "no space is left; free some, or choose another place with --store"
    elif error.errno in _NO_PERMISSION:
        cause = "no permission; change the folder's permissions, or choose another place with --store"
    elif isinstance(error, (NotADirectoryError, FileExistsError)):
        cause = "a file stands where a folder should be; choose another place with --store"
    else:
        cause = f"{error.strerror or error}; check the disk, or choose another place with --store"
    return StoreError(f"store: cannot use {path}: {cause}")
