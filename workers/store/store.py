"""The store: trials, sweeps and the cache, as folders of files.

`workers.store.files` reads and writes its files on disks, and `workers.store.s3` on object stores.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workers.store.files import LocalFiles, StoreError
from workers.store.json_files import Record
from workers.store.manifest import TRIAL_ID, Manifest, StoredFile, is_newer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from workers.store.files import Files, LockHandle

__all__ = ["Folder", "LockLost", "Store", "StoreError", "TrialFolder"]

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
TRIALS, SWEEPS = "trials", "sweeps"
_SWEEP_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,80}")


class LockLost(StoreError):  # noqa: N818 (the name of what happened)
    """This process lost the lock of a folder that it works on: another process may be writing there."""


class Folder:
    """A folder of the store: reads, and writes that are atomic and durable."""

    def __init__(self, place: Path | Files, inside: str = "") -> None:
        self.files: Files = LocalFiles(place) if isinstance(place, Path) else place
        self._inside = inside
        self._lock: LockHandle | None = None

    def __str__(self) -> str:
        return self.place("")

    def path(self, name: str = "") -> Path:
        """Return the path of a file, or of the folder, on this machine's disk.

        Raises StoreError where the store is not on one, or a link leads out of it.
        """
        return _local(self.files).path(self._name(name))

    @property
    def is_local(self) -> bool:
        """Whether the folder lies on a file system."""
        return isinstance(self.files, LocalFiles)

    @property
    def lock_seconds(self) -> float:
        """How long the folder's lock may outlive a process that was killed."""
        return self.files.lock_seconds

    def place(self, name: str) -> str:
        """Return the path or URL of a file, for messages."""
        return self.files.place(self._name(name))

    def inside(self, name: str) -> Folder:
        """Return a folder in this one."""
        return Folder(self.files, self._name(name))

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write one file atomically.

        Raises StoreError where the disk is full or the folder is not writable, LockLost where this process has lost
        the folder's lock.
        """
        self._check_lock()
        self.files.write(self._name(name), content)
        return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write files that belong together; where the disk is full, none is replaced. Raises as `write` does."""
        self._check_lock()
        self.files.write_all({self._name(name): content for name, content in contents.items()})

    def commit(self, name: str, content: bytes) -> None:
        """Write the file that completes the work under this folder's lock.

        The store is asked for the lock once more, and a file that the next holder has committed since is not replaced,
        however long this process was paused. Raises what `write` raises.
        """
        has_lock = self._lock.confirm if self._lock is not None else lambda: True
        if not self.files.write_if(self._name(name), content, has_lock):
            raise self._lock_lost()

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        return self.files.read(self._name(name))

    def stored(self, name: str) -> StoredFile:
        """Return the size and hash of a file. Raises StoreError where it is missing."""
        content = self.read(name)
        if content is None:
            raise StoreError(f"store: {self.place(name)} is gone; submit the sweep again")
        return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def remove(self, name: str) -> None:
        """Remove a file if it is there. Raises LockLost as `write` does."""
        self._check_lock()
        self.files.remove(self._name(name))

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file, or, without a name, the folder itself."""
        return bool(self.sizes([name])) if name else self.files.exists(self._inside)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the size in bytes of each of these files that is there; an object store is asked once."""
        return self.files.sizes(self._inside, names)

    def names(self, pattern: str) -> list[str]:
        """Return the names that match a glob pattern below this folder, sorted; unfinished files never match."""
        found = self.files.names(self._inside, pattern)
        return sorted(name for name in found if not name.rpartition("/")[2].startswith("."))

    def folders(self) -> list[str]:
        """Return the names of the folders in this one, sorted."""
        return sorted(name for name in self.files.folders(self._inside) if not name.startswith("."))

    def read_json(self, name: str) -> Any:
        """Return a JSON file's value, or None where the file is missing or not JSON."""
        content = self.read(name)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError:
            return None

    def read_record(self, name: str) -> Record:
        """Return a JSON file's object; an empty one where the file is missing, or is something else."""
        value = self.read_json(name)
        return Record(value if isinstance(value, dict) else {})

    def has_unfinished_files(self) -> bool:
        """Whether there are temporary files of writers, which may be alive."""
        return bool(self.files.unfinished(self._inside))

    def remove_unfinished_files(self, older_than: float = 0.0) -> None:
        """Remove the temporary files of killed writers.

        Where no lock keeps other writers out, only those older than some seconds may be removed.
        """
        for name in self.files.unfinished(self._inside, older_than):
            self.files.remove(name)

    def write_json(self, name: str, value: Any) -> StoredFile:
        """Write a value as JSON, atomically."""
        return self.write(name, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode())

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[LockHandle | None]:
        """Acquire this folder's lock for the block; yields None where another process has it.

        On a file system the operating system releases it when this process dies. On an object store it is a lease: it
        outlives a process that was killed by `lock_seconds`, and a process that cannot renew it loses it. A process
        that lost the lock of this folder can write nothing more in it.
        """
        with self.files.try_lock(self._inside) as lock:
            self._lock = lock
            try:
                yield lock
            finally:
                self._lock = None

    def holder_lives(self) -> bool:
        """Whether the process for which `try_lock` yielded None is known to be alive; if not, it may be dead."""
        return self.files.holder_lives(self._inside)

    def is_locked(self) -> bool:
        """Whether some process has the folder's lock; for display."""
        return self.files.is_locked(self._inside)

    def _check_lock(self) -> None:
        if self._lock is not None and self._lock.lost():
            raise self._lock_lost()

    def _lock_lost(self) -> LockLost:
        return LockLost(
            f"store: the lease on {self} was lost, because it could not be renewed in time; another process may "
            "continue this work, and this one writes nothing more"
        )

    def _name(self, name: str) -> str:
        return "/".join(part for part in (self._inside, name) if part)


class TrialFolder(Folder):
    """`trials/<trial_id>/`."""

    MANIFEST = "manifest.json"

    def __init__(self, files: Files, trial_id: str) -> None:
        super().__init__(files, f"{TRIALS}/{trial_id}")
        self.trial_id = trial_id

    def manifest(self) -> Manifest | None:
        """Return the manifest if the trial is done: it is complete, of this trial, and its files have their sizes.

        Hashes are compared by whoever reads a file's content (`read_verified`), so that asking for the state
        of ten thousand trials reads ten thousand manifests and nothing else. Raises StoreError for that of a newer
        release.
        """
        content = self.read(self.MANIFEST)
        manifest = Manifest.from_bytes(content) if content is not None else None
        if manifest is None or manifest.trial_id != self.trial_id:
            # Else this release would take the trial for an unfinished one, and train it again.
            if content is not None and is_newer(content):
                raise StoreError(
                    f"store: {self.place(self.MANIFEST)} was written by a newer release, and this one cannot read it; "
                    "use that release for this store"
                )
            return None
        sizes = self.sizes(manifest.files)
        return manifest if all(sizes.get(name) == entry.bytes for name, entry in manifest.files.items()) else None

    def read_verified(self, manifest: Manifest, name: str) -> bytes:
        """Return a file's bytes. Raises StoreError where they are not the ones that the manifest hashed."""
        content = self.read(name)
        if content is None or hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
            raise StoreError(
                f"{self.place(name)}: missing or changed since it was written; "
                f"remove {self.place(self.MANIFEST)} and submit the sweep again to rebuild it"
            )
        return content


class Store:
    """The place of results: `trials/<trial_id>/`, `sweeps/<name>/`, and on a disk MLflow's files."""

    def __init__(self, place: Path | Files) -> None:
        self.files: Files = LocalFiles(place.absolute()) if isinstance(place, Path) else place

    @classmethod
    def at(cls, place: str) -> Store:
        """Return the store at a folder's path or an `s3://bucket/prefix` URL. Raises StoreError for any other URL."""
        scheme, mark, _ = place.partition("://")
        if not mark:
            return cls(Path(place))
        if scheme != "s3":
            raise StoreError(f"no store has URLs of {scheme!r}; give a folder, or s3://bucket/prefix")
        from workers.store.s3 import ObjectFiles  # stores on disks need no S3
        from workers.store.s3_url import ObjectPlace

        return cls(ObjectFiles(ObjectPlace.from_url(place)))

    def __str__(self) -> str:
        return str(self.files)

    @property
    def root(self) -> Path:
        """The store's folder on this machine's disk. Raises StoreError where the store is not on one."""
        return _local(self.files).root

    @property
    def is_local(self) -> bool:
        """Whether the store lies on a file system."""
        return isinstance(self.files, LocalFiles)

    def folder(self, name: str) -> Folder:
        """Return a folder of the store."""
        return Folder(self.files, name)

    def trial(self, trial_id: str) -> TrialFolder:
        """Return a trial's folder. Raises StoreError where the id is not one."""
        if not TRIAL_ID.fullmatch(trial_id):
            raise StoreError(f"{trial_id!r} is not a trial id: 64 hexadecimal digits")
        return TrialFolder(self.files, trial_id)

    def sweep(self, name: str) -> Folder:
        """Return a sweep's folder. Raises StoreError where the name could leave the store."""
        if not _SWEEP_NAME.fullmatch(name):
            raise StoreError(f"{name!r} is not a sweep's name: letters, digits, '.', '_' and '-', at most 80")
        return self.folder(f"{SWEEPS}/{name}")

    def cache(self) -> Folder:
        """Return the folder of files that can be made again: references and classifiers."""
        return self.folder("cache")

    def sweep_names(self) -> list[str]:
        """Return the names of the sweeps that were submitted to this store."""
        return [name for name in self.folder(SWEEPS).folders() if self.folder(f"{SWEEPS}/{name}").exists("spec.yaml")]

    def finished_trials(self) -> Iterator[TrialFolder]:
        """Yield the trials of all sweeps that have a manifest; each is looked up when it is asked for."""
        for trial_id in self.folder(TRIALS).folders():
            if TRIAL_ID.fullmatch(trial_id) and (folder := self.trial(trial_id)).exists(TrialFolder.MANIFEST):
                yield folder

    def map(self, read: Callable[[_Item], _Made], items: Iterable[_Item]) -> list[_Made]:
        """Return what `read` returns for each item; on an object store many are read at once."""
        if self.files.readers == 1:
            return [read(item) for item in items]
        from concurrent.futures import ThreadPoolExecutor  # stores on disks do without

        with ThreadPoolExecutor(self.files.readers) as pool:
            return list(pool.map(read, items))

    def check_writable(self) -> None:
        """Write and remove a file of one MiB. Raises StoreError with the reason where that, or locking, cannot work."""
        folder = self.folder("")
        folder.write(".probe", bytes(2**20))
        folder.remove(".probe")
        self.files.check_lockable()


def _local(files: Files) -> LocalFiles:
    if not isinstance(files, LocalFiles):
        raise StoreError(f"the store {files} is an object store, and this needs one in a folder; choose it by --store")
    return files
