"""Downloads that are there whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tarfile
import zipfile
from http.client import HTTPException
from typing import TYPE_CHECKING

from workers.data.dataset import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.dataset import Dataset

FAILURES = (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zipfile.BadZipFile)
"""What a download, a check or an unpacking ends in that fails."""


def is_here(dataset: Dataset, root: Path) -> bool:
    """Return whether every file that the dataset is read from is below the data folder."""
    return all(path.is_file() for path in dataset.locate(root))


def fetch(dataset: Dataset, root: Path) -> None:
    """Download a dataset below the data folder, in place of what is there of it.

    Everything is downloaded, checked and unpacked in a folder of its own and moved to its place at the end. Raises
    DataError where that fails, and leaves nothing behind.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    staging = root / f".fetching-{secrets.token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        dataset.fetch(staging)
        _move(staging, root)
    except DataError as error:
        raise DataError(str(error).replace(str(staging), str(root))) from error
    except FAILURES as error:
        reason = str(error).replace(str(staging), str(root))
        raise DataError(
            f"{dataset.name} could not be fetched, and {root} is as it was: {reason}; check the network and the disk, "
            f"or put the files there yourself: {', '.join(map(str, dataset.locate(root)))}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            # Only empty ones can be removed.
            with contextlib.suppress(OSError):
                folder.rmdir()


def download(url: str, path: Path) -> None:
    """Download one file, with a progress bar on standard error. Raises OSError, RuntimeError or HTTPException."""
    # Imported here because torchvision takes seconds to import and only fetching needs it.
    from torchvision.datasets.utils import download_url

    download_url(url, str(path.parent), path.name)


def _move(staging: Path, root: Path) -> None:
    for path in sorted(staging.rglob("*")):
        target = root / path.relative_to(staging)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)
