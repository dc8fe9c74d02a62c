"""Downloads of datasets, which are complete or leave the data folder unchanged."""

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
"""The exceptions of a failed download, check or extraction."""


def is_here(dataset: Dataset, root: Path) -> bool:
    """Return whether every file of the dataset is in the data folder."""
    return all(path.is_file() for path in dataset.locate(root))


def fetch(dataset: Dataset, root: Path) -> None:
    """Download a dataset to the data folder, and replace its files there.

    The files are downloaded, checked and unpacked in a temporary folder, then moved. Raises DataError where that
    fails; the data folder is then unchanged.
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
            f"{dataset.name} could not be fetched, and {root} is unchanged: {reason}; check the network and the disk, "
            f"or put these files there yourself: {', '.join(map(str, dataset.locate(root)))}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            # Only an empty folder can be removed.
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
