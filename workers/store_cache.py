"""What the store keeps beside results because it takes long to make: made once, by one process, for all of them."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from typing import TYPE_CHECKING, Any

from workers.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.data.resident import Images
    from workers.store import Folder

CONTENT = "content.safetensors"
POLL_SECONDS = 0.5
BLOCK = 1024
"""Images that are hashed at once."""


def content_digest(images: Images, settings: Mapping[str, Any]) -> str:
    """Return a sha256 of the images themselves, their labels, how batches are made of them, and other settings.

    A file that is changed in its place is other content, whatever its name and its number of examples are.
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
    """Return what is kept in `folder` under `key`, made and kept where it is not there or is damaged.

    Of several processes one makes it, and the others wait for it. `check_stop` is called while they wait; it raises
    to stop. Raises StoreError where the store cannot be used.
    """
    place = folder.inside(key)
    while True:
        if (kept := _read(place)) is not None:
            return kept
        with place.try_lock() as held:
            if held:
                # Another process may have made it since it was looked for.
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
        warnings.warn(f"{place.place(CONTENT)}: {error}; it is made again", stacklevel=2)
        return None
