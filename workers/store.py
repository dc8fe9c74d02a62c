"""What the store holds and where: trials, sweeps and the cache, and the manifest that says a trial is done.

How a file is written so that readers see all of it or nothing is the business of the place: `workers.files` for disks,
`workers.object_files` for object stores.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workers.files import LocalFiles, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from workers.files import Files, Hold

__all__ = ["Folder", "LockLost", "Manifest", "Store", "StoreError", "StoredFile", "TrialFolder"]

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
MANIFEST_VERSION = 1
TRIALS, SWEEPS = "trials", "sweeps"
_TRIAL_ID = re.compile(r"[0-9a-f]{64}")
_SWEEP_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,80}")


class LockLost(StoreError):  # noqa: N818 (the name of what happened)
    """The lock of a folder was lost while it was held, so that another process may be writing there."""


@dataclass(frozen=True)
class StoredFile:
    """What the manifest says of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The proof that a trial is done: the files of its result with their sizes and hashes, written last."""

    trial_id: str
    files: Mapping[str, StoredFile]
    attempts: int
    started_at: float
    finished_at: float
    parameters: int
    provenance: Mapping[str, str] = field(default_factory=dict)
    evaluations: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON that carries its own hash."""
        record = {"version": MANIFEST_VERSION, **asdict(self)}
        return json.dumps({**record, "sha256": _record_hash(record)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest | None:
        """Return the manifest, or None where the bytes are not a whole one of this version."""
        try:
            record = json.loads(content)
            stated = record.pop("sha256")
            if stated != _record_hash(record) or record.pop("version") != MANIFEST_VERSION:
                return None
            record["files"] = {name: StoredFile(**entry) for name, entry in record["files"].items()}
            return cls(**record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Folder:
    """A folder of the store: reads, and writes that are atomic and durable."""

    def __init__(self, place: Path | Files, inside: str = "") -> None:
        self.files: Files = LocalFiles(place) if isinstance(place, Path) else place
        self._inside = inside
        self._hold: Hold | None = None

    def __str__(self) -> str:
        return self.place("")

    @property
    def path(self) -> Path:
        """The folder on this machine's disk. Raises StoreError where the store is not on one."""
        return _local(self.files).root / self._inside

    @property
    def is_local(self) -> bool:
        """Whether the folder lies on a file system."""
        return isinstance(self.files, LocalFiles)

    @property
    def lock_seconds(self) -> float:
        """How long the folder's lock may outlive a holder that was killed."""
        return self.files.lock_seconds

    def place(self, name: str) -> str:
        """Return where a file is, for people."""
        return self.files.place(self._name(name))

    def inside(self, name: str) -> Folder:
        """Return a folder in this one."""
        return Folder(self.files, self._name(name))

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write one file atomically.

        Raises StoreError where the disk is full or the folder is not writable, LockLost where this folder was locked
        by this process and is not any more.
        """
        self._check_lock()
        self.files.write(self._name(name), content)
        return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        return self.files.read(self._name(name))

    def stored(self, name: str) -> StoredFile:
        """Return what the manifest says of a file that is there. Raises StoreError where it is not."""
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

    def write_json(self, name: str, value: Any) -> StoredFile:
        """Write a value as JSON, atomically."""
        return self.write(name, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode())

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[Hold | None]:
        """Hold this folder's lock for the block; yields None where another process holds it.

        On a file system the operating system releases it when its holder dies. On an object store it is a lease: it
        outlives its holder by `lock_seconds`, and a holder that cannot renew it loses it. Whoever lost the lock of
        this folder can write nothing more in it.
        """
        with self.files.try_lock(self._inside) as hold:
            self._hold = hold
            try:
                yield hold
            finally:
                self._hold = None

    def holder_lives(self) -> bool:
        """Whether the process that kept `try_lock` from the lock has shown that it is alive; if not, it may be dead."""
        return self.files.holder_lives(self._inside)

    def is_locked(self) -> bool:
        """Whether some process holds the folder's lock; for display."""
        return self.files.is_locked(self._inside)

    def _check_lock(self) -> None:
        if self._hold is not None and self._hold.lost():
            raise LockLost(
                f"store: the lease on {self} was lost, for it could not be renewed in time; another process may go on "
                "with this, and nothing more is written here"
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
        """Return the manifest if the trial is done: it is whole, of this trial, and its files have their sizes.

        Hashes are compared by whoever reads a file's content (`read_verified`), so that asking for the state
        of ten thousand trials reads ten thousand manifests and nothing else.
        """
        content = self.read(self.MANIFEST)
        manifest = Manifest.from_bytes(content) if content is not None else None
        if manifest is None or manifest.trial_id != self.trial_id:
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

    def remove_unfinished_files(self) -> None:
        """Remove what a killed attempt was writing. Only for the holder of the lock."""
        self.files.remove_unfinished(self._inside)


class Store:
    """Where results live: `trials/<trial_id>/`, `sweeps/<name>/`, and on a disk MLflow's files beside them."""

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
        from workers.object_files import ObjectFiles, ObjectPlace  # stores on disks do without

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
        if not _TRIAL_ID.fullmatch(trial_id):
            raise StoreError(f"{trial_id!r} is not a trial id: 64 hexadecimal digits")
        return TrialFolder(self.files, trial_id)

    def sweep(self, name: str) -> Folder:
        """Return a sweep's folder. Raises StoreError where the name could leave the store."""
        if not _SWEEP_NAME.fullmatch(name):
            raise StoreError(f"{name!r} is not a sweep's name: letters, digits, '.', '_' and '-', at most 80")
        return self.folder(f"{SWEEPS}/{name}")

    def cache(self) -> Folder:
        """Return the folder of what takes long to make and is no result: references and classifiers."""
        return self.folder("cache")

    def sweep_names(self) -> list[str]:
        """Return the names of the sweeps that were submitted to this store."""
        return [name for name in self.folder(SWEEPS).folders() if self.folder(f"{SWEEPS}/{name}").exists("spec.yaml")]

    def finished_trials(self) -> Iterator[TrialFolder]:
        """Yield the trials that have a manifest, of all sweeps, looking for the next one when it is asked for."""
        for trial_id in self.folder(TRIALS).folders():
            if _TRIAL_ID.fullmatch(trial_id) and (folder := self.trial(trial_id)).exists(TrialFolder.MANIFEST):
                yield folder

    def map(self, read: Callable[[_Item], _Made], items: Iterable[_Item]) -> list[_Made]:
        """Return what `read` returns for each item, with as many reads at once as the store is the faster for."""
        if self.files.readers == 1:
            return [read(item) for item in items]
        with ThreadPoolExecutor(self.files.readers) as pool:
            return list(pool.map(read, items))

    def check_writable(self) -> None:
        """Write and remove a file of one MiB. Raises StoreError with the reason where that fails."""
        folder = self.folder("")
        folder.write(".probe", bytes(2**20))
        folder.remove(".probe")


def _local(files: Files) -> LocalFiles:
    if not isinstance(files, LocalFiles):
        raise StoreError(f"the store {files} is an object store, and this needs one in a folder; choose it by --store")
    return files


def _record_hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
