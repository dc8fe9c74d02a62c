"""The manifest that proves a trial done: its files with their sizes and hashes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from workers.store.json_files import hashed, is_number, is_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST_VERSION = 1
TRIAL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredFile:
    """The size and hash of a file, as the manifest states them."""

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
        record = hashed({"version": MANIFEST_VERSION, **asdict(self)})
        return json.dumps(record, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest | None:
        """Return the manifest, or None where the bytes are not a complete one of this version."""
        try:
            record = json.loads(content)
            if not is_whole(record) or record.pop("version") != MANIFEST_VERSION:
                return None
            del record["sha256"]
            record["files"] = {name: StoredFile(**entry) for name, entry in record["files"].items()}
            manifest = cls(**record)
            return manifest if manifest._is_valid() else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _is_valid(self) -> bool:
        """Whether each value has the type and the range of what `to_bytes` is given; a store may be anybody's."""
        counts = (self.attempts, self.parameters, *(entry.bytes for entry in self.files.values()))
        texts = (*self.provenance.items(), *((name, entry.sha256) for name, entry in self.files.items()))
        return (
            bool(TRIAL_ID.fullmatch(self.trial_id))
            and all(type(count) is int and count >= 0 for count in counts)
            and all(is_number(time) for time in (self.started_at, self.finished_at))
            and all(isinstance(text, str) for pair in texts for text in pair)
            and all(isinstance(eval_id, str) for eval_id in self.evaluations)
            and not any(_leaves(name) for name in self.files)
        )


def is_newer(manifest: bytes) -> bool:
    """Whether the bytes are a complete manifest of a newer release."""
    try:
        record = json.loads(manifest)
        return is_whole(record) and is_number(record["version"]) and record["version"] > MANIFEST_VERSION
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _leaves(name: str) -> bool:
    """Whether a file's name could lead out of its folder."""
    return name.startswith("/") or ".." in name.split("/")
