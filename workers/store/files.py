"""The files of a store: what every kind of storage offers, and the local disk, which includes NFS.

On a disk a file is written under a temporary name, synced, and renamed: a reader sees the old file or the new one,
never a part of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LOCK = ".lock"
LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 8, 0.01
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class StoreError(Exception):
    """The store cannot be read or written; the message names the path, the cause and the next step."""


class LockHandle(Protocol):
    """The lock of a folder, acquired by this process."""

    def lost(self) -> bool:
        """Whether another process may have the lock by now; this one must then write nothing more."""

    def confirm(self) -> bool:
        """Ask the store whether this process still has the lock."""


class Files(Protocol):
    """The files of a store. Names are relative to its root, with "/" between their parts.

    Every method raises StoreError where the storage cannot be used.
    """

    @property
    def lock_seconds(self) -> float:
        """How long a lock may outlive a process that was killed."""

    @property
    def readers(self) -> int:
        """How many files to read at once."""

    def place(self, name: str) -> str:
        """Return the path or URL of a file, for messages."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Write one file: readers see what was there before or all of the new bytes."""

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write files that belong together: on a disk none is replaced before all are written."""

    def write_if(self, name: str, content: bytes, condition: Callable[[], bool]) -> bool:
        """Write one file if the condition is true, and return whether it was written.

        A file that another process writes after the condition was checked is never replaced.
        """

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

    def unfinished(self, folder: str, older_than: float = 0.0) -> list[str]:
        """Return the temporary files below a folder that were written longer than some seconds ago."""

    def try_lock(self, folder: str) -> contextlib.AbstractContextManager[LockHandle | None]:
        """Acquire a folder's lock for the block; None where another process has it."""

    def holder_lives(self, folder: str) -> bool:
        """Whether the process for which `try_lock` returned None is known to be alive."""

    def is_locked(self, folder: str) -> bool:
        """Whether some process has a folder's lock; for display."""

    def check_lockable(self) -> None:
        """Raise StoreError where the storage cannot lock folders; the message says what to use."""


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

    def path(self, name: str, folder: str = "") -> Path:
        """Return the path of a file or folder. Raises StoreError where a link leads out of the store.

        Whoever may write in a store could else let others write to, or show, files that only these may use.
        """
        inside = f"{folder}/{name}" if folder else name
        self._check_links(str(self.root), inside)
        return self.root / inside

    def _check_links(self, place: str, name: str) -> None:
        """Raise StoreError where a link below a place of the store, which is checked itself, leads out of it."""
        for part in name.split("/"):
            place = f"{place}/{part}"
            if os.path.islink(place) and not self._has(place):  # noqa: PTH114 (as text: it is asked for every file)
                target = Path(place).readlink()
                raise StoreError(
                    f"store: {place} is a link out of the store, to {target}, and is not followed; replace it by what "
                    "it links to"
                )

    def _has(self, link: str) -> bool:
        return Path(link).resolve().is_relative_to(self.root.resolve())

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(error, self.root / name) from error

    def write(self, name: str, content: bytes, mode: int = 0o666) -> None:
        """Write one file atomically and durably, with a mode that the umask reduces."""
        self.write_all({name: content}, mode)

    def write_all(self, contents: Mapping[str, bytes], mode: int = 0o666) -> None:
        """Write files that belong together: where the disk is full, none of them is replaced."""
        targets = {name: self.path(name) for name in contents}
        temporaries = {
            name: target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp") for name, target in targets.items()
        }
        target = self.root
        try:
            for name, target in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                _write_synced(temporaries[name], contents[name], mode)
            for name, target in targets.items():
                temporaries[name].replace(target)
            for folder in {target.parent for target in targets.values()}:
                sync_folder(folder)
        except OSError as error:
            raise store_error(error, target) from error
        finally:
            for temporary in temporaries.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def write_if(self, name: str, content: bytes, condition: Callable[[], bool]) -> bool:
        """Write one file if the condition is true: a lock on a disk excludes every other writer."""
        is_true = condition()
        if is_true:
            self.write(name, content)
        return is_true

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        try:
            self.path(name).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise store_error(error, self.root / name) from error

    def names(self, folder: str, pattern: str) -> list[str]:
        """Return the names below a folder that match a glob pattern."""
        base = self.path(folder)
        found = [path.relative_to(base).as_posix() for path in base.glob(pattern)]
        for name in found:
            self._check_links(str(base), name)  # a folder in between may be a link
        return found

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        return [path.name for path in self.path(folder).glob("*/")]

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the files that are there."""
        sizes, base = {}, str(self.path(folder))
        for name in names:
            with contextlib.suppress(OSError, StoreError):
                self._check_links(base, name)
                sizes[name] = os.stat(f"{base}/{name}").st_size  # noqa: PTH116 (as text, as above)
        return sizes

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        return self.path(folder).is_dir()

    def unfinished(self, folder: str, older_than: float = 0.0) -> list[str]:
        """Return the temporary files below a folder; killed writers leave them."""
        found = []
        for place, _, names in os.walk(self.path(folder)):
            for name in names:
                if name.startswith(".") and name.endswith(".tmp"):
                    with contextlib.suppress(OSError):  # its writer is alive, and has just finished
                        path = Path(place, name)
                        if time.time() - path.lstat().st_mtime >= older_than:
                            found.append(path.relative_to(self.root).as_posix())
        return found

    @contextlib.contextmanager
    def try_lock(self, folder: str) -> Iterator[LockHandle | None]:
        """Acquire a folder's lock for the block; the operating system releases it when this process dies."""
        path = self.path(LOCK, folder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _opened_for_lock(path)
        except OSError as error:
            raise store_error(error, path) from error
        with handle:
            try:
                acquired = any(_acquires(handle, fcntl.LOCK_EX) for _ in _pauses())
            except OSError as error:
                raise store_error(error, path) from error
            yield _FileLock() if acquired else None

    def holder_lives(self, folder: str) -> bool:  # noqa: ARG002 (the lock of a dead process is free)
        """Whether the process that has the lock is alive: the operating system releases those of dead ones."""
        return True

    def is_locked(self, folder: str) -> bool:
        """Whether some process has a folder's lock. Needs no permission to write."""
        path = self.path(LOCK, folder)
        try:
            with path.open("rb") as handle:
                # Others who look are not in the way of a shared lock, and it is gone when the file is closed.
                return not _acquires(handle, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise store_error(error, path) from error

    def check_lockable(self) -> None:
        """Do nothing: a file system that cannot lock says so when a folder is locked."""


class _FileLock:
    def lost(self) -> bool:
        return False  # the operating system gives it to no other process while this one lives

    def confirm(self) -> bool:
        return True


def _opened_for_lock(path: Path) -> IO[bytes]:
    try:
        return path.open("ab")
    except PermissionError:
        # Another user has made it, with a umask that lets the group only read it. A disk locks it nevertheless.
        return path.open("rb")


def _acquires(handle: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pauses() -> Iterator[None]:
    """Pause between attempts at a lock: whoever looks whether a folder is locked has its lock for an instant."""
    for attempt in range(LOCK_ATTEMPTS):
        if attempt:
            time.sleep(LOCK_PAUSE_SECONDS)
        yield


def _write_synced(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store_error(error: OSError, path: Path | str) -> StoreError:
    """Return an error of the operating system as one that names the path, the cause and the next step."""
    if error.errno in _NO_SPACE:
        cause = "no space is left; free some, or choose another place with --store"
    elif error.errno in _NO_PERMISSION:
        cause = "no permission; change the folder's permissions, or choose another place with --store"
    elif isinstance(error, (NotADirectoryError, FileExistsError)):
        cause = "a file is in the place of a folder; choose another place with --store"
    else:
        cause = f"{error.strerror or error}; check the disk, or choose another place with --store"
    return StoreError(f"store: cannot use {path}: {cause}")
