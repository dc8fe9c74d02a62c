"""A cache in the store for results that take long to compute: one process computes each, and all read it."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from typing import TYPE_CHECKING, Any

from workers.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.data.resident import Images
    from workers.store.store import Folder

CONTENT = "content.safetensors"
POLL_SECONDS = 0.5
BLOCK = 1024
"""Images that are hashed at once."""


def content_digest(images: Images, settings: Mapping[str, Any]) -> str:
    """Return a sha256 of the pixels, the labels, the options of batches, and other settings.

    It changes when a file is replaced by another one of the same name and number of examples.
    """
    options = {"shape": images.shape, "dynamic": images.dynamic, "flip": images.flip, **settings}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for start in range(0, len(images), BLOCK):
        digest.update(images.pixels[start : start + BLOCK].cpu().contiguous().numpy().data)
    if images.labels is not None:
        digest.update(images.labels.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def load_or_make(
    folder: Folder, key: str, make: Callable[[], Checkpoint], check_stop: Callable[[], None]
) -> Checkpoint:
    """Return the entry `key` of `folder`; a missing or damaged one is made by `make` and stored first.

    Of several processes one makes it, and the others wait for it. `check_stop` is called while they wait and raises
    to stop. Raises StoreError where the store cannot be used.
    """
    place = folder.inside(key)
    while True:
        if (kept := _read(place)) is not None:
            return kept
        with place.try_lock() as held:
            if held:
                # Another process may have made it since the last read.
                return _read(place) or _make(place, make)
        check_stop()
        time.sleep(POLL_SECONDS)


def _make(place: Folder, make: Callable[[], Checkpoint]) -> Checkpoint:
    made = make()
    place.write(CONTENT, made.to_bytes())
    return made


def _read(place: Folder) -> Checkpoint | None:
    content = place.read(CONTENT)
    if content is None:
        return None
    try:
        return Checkpoint.from_bytes(content)
    except ValueError as error:
        warnings.warn(f"{place.place(CONTENT)}: {error}; it will be computed again", stacklevel=2)
        return None
