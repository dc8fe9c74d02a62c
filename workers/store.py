"""Every path under the store, atomic writes, locks, and the manifest that says a trial is done.

A file is written beside its place, synced, and renamed: a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MANIFEST_VERSION = 1
_TRIAL_ID = re.compile(r"[0-9a-f]{64}")
_SWEEP_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,80}")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class StoreError(Exception):
    """The store cannot be read or written; the message names the path, the cause and the next step."""


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

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write one file atomically. Raises StoreError where the disk is full or the folder is not writable."""
        target = self.path / name
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
        return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _store_error(error, self.path / name) from error

    def stored(self, name: str) -> StoredFile:
        """Return what the manifest says of a file that is there. Raises StoreError where it is not."""
        content = self.read(name)
        if content is None:
            raise StoreError(f"store: {self.path / name} is gone; submit the sweep again")
        return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def names(self, pattern: str) -> list[str]:
        """Return the names that match a glob pattern below this folder, sorted; unfinished files never match."""
        found = (str(path.relative_to(self.path)) for path in self.path.glob(pattern))
        return sorted(name for name in found if not Path(name).name.startswith("."))

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
    def try_lock(self) -> Iterator[bool]:
        """Hold this folder's lock for the block; yields False where another process holds it.

        The operating system releases it when its holder dies, however it dies.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("a")
        except OSError as error:
            raise _store_error(error, self.path) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


class TrialFolder(Folder):
    """`trials/<trial_id>/`."""

    MANIFEST = "manifest.json"

    def __init__(self, path: Path, trial_id: str) -> None:
        super().__init__(path)
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
        return manifest if all(self._has(name, entry) for name, entry in manifest.files.items()) else None

    def read_verified(self, manifest: Manifest, name: str) -> bytes:
        """Return a file's bytes. Raises StoreError where they are not the ones that the manifest hashed."""
        content = self.read(name)
        if content is None or hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
            raise StoreError(
                f"{self.path / name}: missing or changed since it was written; "
                f"remove {self.path / self.MANIFEST} and submit the sweep again to rebuild it"
            )
        return content

    def remove_unfinished_files(self) -> None:
        """Remove what a killed attempt was writing. Only for the holder of the lock."""
        for path in self.path.rglob(".*.tmp"):
            path.unlink(missing_ok=True)

    def _has(self, name: str, entry: StoredFile) -> bool:
        try:
            return (self.path / name).stat().st_size == entry.bytes
        except OSError:
            return False


class Store:
    """Where results live: `trials/<trial_id>/`, `sweeps/<name>/`, and MLflow's files beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def trial(self, trial_id: str) -> TrialFolder:
        """Return a trial's folder. Raises StoreError where the id is not one."""
        if not _TRIAL_ID.fullmatch(trial_id):
            raise StoreError(f"{trial_id!r} is not a trial id: 64 hexadecimal digits")
        return TrialFolder(self.root / "trials" / trial_id, trial_id)

    def sweep(self, name: str) -> Folder:
        """Return a sweep's folder. Raises StoreError where the name could leave the store."""
        if not _SWEEP_NAME.fullmatch(name):
            raise StoreError(f"{name!r} is not a sweep's name: letters, digits, '.', '_' and '-', at most 80")
        return Folder(self.root / "sweeps" / name)

    def cache(self) -> Folder:
        """Return the folder of what takes long to make and is no result: references and classifiers."""
        return Folder(self.root / "cache")

    def sweep_names(self) -> list[str]:
        """Return the names of the sweeps that were submitted to this store."""
        return sorted(path.parent.name for path in self.root.glob("sweeps/*/spec.yaml"))

    def check_writable(self) -> None:
        """Write and remove a file of one MiB. Raises StoreError with the reason where that fails."""
        folder = Folder(self.root)
        folder.write(".probe", bytes(2**20))
        folder.remove(".probe")


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


def _record_hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
