"""Arrays that are prepared once and then memory-mapped: datasets too large for memory, or too slow to decode often.

They are in `<data root>/.prepared/`. The folder may be deleted at any time; missing arrays are prepared again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.data.dataset import CACHE, DataError
from workers.store.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def prepared_key(name: str, version: int, sources: Sequence[Path]) -> str:
    """Return the key of a prepared array, which changes with the version of its preparation and with its sources.

    A file is identified by its name, size and time of change. Raises OSError where one is missing.
    """
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return f"{name}-{hashlib.sha256(json.dumps([version, files]).encode()).hexdigest()[:16]}"


def prepared_array(
    root: Path, key: str, shape: tuple[int, ...], blocks: Callable[[], Iterable[NDArray[np.uint8]]]
) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Return a uint8 array of `shape` mapped from `<root>/.prepared/<key>.npy`; a missing file is prepared first.

    `blocks` is called only to prepare: it returns the array's rows in order, in blocks (n, *shape[1:]) uint8. A file of
    another size, shape or type is prepared again. Of several processes one prepares, and the others wait for it. The
    mapping is copy-on-write, so the file never changes. Raises DataError where the disk is full or the folder is not
    writable; no incomplete file is left.
    """
    path = root / CACHE / f"{key}.npy"
    mapped = _mapped(path, shape)
    if mapped is not None:
        return mapped
    try:
        with _lock(path):
            # Another process may have prepared it while this one waited.
            mapped = _mapped(path, shape)
            if mapped is None:
                _write(path, shape, blocks())
                mapped = _mapped(path, shape)
    except OSError as error:
        cause = "no space is left" if error.errno in _NO_SPACE else str(error)
        needed = f"{np.prod(shape, dtype=np.int64) / 1e9:.2f} GB"
        raise DataError(
            f"{path}: cannot be prepared ({needed}): {cause}; free some space, make the folder writable, or choose "
            "another data folder with --data or MRVAE_DATA"
        ) from error
    if mapped is None:
        raise DataError(f"{path}: cannot be read after it was written; check the disk")
    return mapped


def _mapped(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]] | None:
    """Return the array of a file, or None where the file is missing, incomplete or of another shape."""
    try:
        # Copy-on-write rather than read-only, because a tensor cannot be read-only.
        mapped = np.lib.format.open_memmap(path, mode="c")
        whole = path.stat().st_size == mapped.offset + mapped.nbytes
    except (OSError, ValueError, EOFError):
        return None
    return (
        mapped if whole and mapped.shape == shape and mapped.dtype == np.uint8 and mapped.flags.c_contiguous else None
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Acquire the lock of one array for the block; the operating system releases it when this process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(path: Path, shape: tuple[int, ...], blocks: Iterable[NDArray[np.uint8]]) -> None:
    # The lock allows the same name for all attempts: the next one overwrites the file of a killed one.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            # Checked before minutes of decoding.
            if shutil.disk_usage(path.parent).free < np.prod(shape, dtype=np.int64):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            rows = 0
            for block in blocks:
                if block.dtype != np.uint8 or block.shape[1:] != shape[1:]:
                    raise ValueError(f"a block is {block.dtype} {block.shape}; {path.name} is uint8 {shape}")
                file.write(np.ascontiguousarray(block).data)
                rows += len(block)
            if rows != shape[0]:
                raise ValueError(f"the blocks have {rows:,} rows; {path.name} has {shape[0]:,}")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
