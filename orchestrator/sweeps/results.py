"""The results of a finished trial, read from its folder: verified against the manifest, and against the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.records import HistoryRow, Point, RecordError, from_parquet
from workers.store.layout import HISTORY
from workers.store.store import StoreError

if TYPE_CHECKING:
    from workers.store.manifest import Manifest
    from workers.store.store import TrialFolder


def read_points(folder: TrialFolder, manifest: Manifest, eval_id: str) -> list[Point]:
    """Return the operating points of an evaluation. Raises RecordError where the file is damaged."""
    name = f"points/{eval_id}.parquet"
    identity = {"trial_id": folder.trial_id, "eval_id": eval_id}
    return from_parquet(Point, verified(folder, manifest, name), folder.place(name), **identity)


def read_intermediate_points(folder: TrialFolder, manifest: Manifest, name: str) -> list[Point]:
    """Return the operating points of an intermediate evaluation's file. Raises RecordError where it is damaged."""
    return from_parquet(Point, verified(folder, manifest, name), folder.place(name), trial_id=folder.trial_id)


def read_history(folder: TrialFolder, manifest: Manifest) -> list[HistoryRow]:
    """Return the epochs of a trial. Raises RecordError where the file is damaged."""
    content = verified(folder, manifest, HISTORY)
    return from_parquet(HistoryRow, content, folder.place(HISTORY), trial_id=folder.trial_id)


def verified(folder: TrialFolder, manifest: Manifest, name: str) -> bytes:
    """Return a file that the manifest names. Raises RecordError where it is another one, or not named."""
    if name not in manifest.files:
        raise RecordError(f"{folder.place(name)}: the manifest of the trial does not name this file; evaluate again")
    try:
        return folder.read_verified(manifest, name)
    except StoreError as error:
        raise RecordError(str(error)) from error
