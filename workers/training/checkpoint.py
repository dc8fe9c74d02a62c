"""Training checkpoints in safetensors: written atomically, the last two kept, damaged ones skipped."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from workers.store.layout import STEP_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.store.manifest import StoredFile
    from workers.store.store import TrialFolder

FINAL = "checkpoint/final.safetensors"
KEPT = 2


RECORD = "checkpoint"
"""The one entry of a checkpoint file's metadata."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the other values needed to resume (plain JSON)."""

    tensors: Mapping[str, torch.Tensor]
    progress: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Return a safetensors file with the progress and a hash of the tensors in its metadata."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        record = {"progress": self.progress, "tensors_sha256": _tensors_hash(tensors)}
        # One entry, because safetensors writes several in any order: this way equal checkpoints are equal bytes.
        return safetensors.torch.save(tensors, {RECORD: json.dumps(record)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """Return the checkpoint of a file's content. Raises ValueError where it is damaged."""
        try:
            tensors = safetensors.torch.load(content)
            record = json.loads(_metadata(content)[RECORD])
            intact = record["tensors_sha256"] == _tensors_hash(tensors)
            progress = record["progress"]
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a complete checkpoint ({error})") from error
        if not intact:
            raise ValueError("the tensors differ from their hash, so the file is damaged")
        return cls(tensors=tensors, progress=progress)


class TrainingCheckpoints:
    """The checkpoints of one trial in training, newest last."""

    def __init__(self, folder: TrialFolder) -> None:
        self.folder = folder

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of a step, then remove all but the last two."""
        self.folder.write(f"checkpoint/step-{step:09d}.safetensors", checkpoint.to_bytes())
        for name in self.folder.names(STEP_FILES)[:-KEPT]:
            self.folder.remove(name)

    def latest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; damaged ones are removed with a warning."""
        for name in reversed(self.folder.names(STEP_FILES)):
            content = self.folder.read(name)
            try:
                return Checkpoint.from_bytes(content or b"")
            except ValueError as error:
                warnings.warn(f"{self.folder.place(name)}: {error}; trying the previous checkpoint", stacklevel=2)
                self.folder.remove(name)
        return None

    def finish(self, model: Checkpoint) -> StoredFile:
        """Write the trained model, without the state of the optimiser, and return its record."""
        return self.folder.write(FINAL, model.to_bytes())

    def clear(self) -> None:
        """Remove the training checkpoints, once the trial's manifest is written."""
        for name in self.folder.names(STEP_FILES):
            self.folder.remove(name)


def _metadata(content: bytes) -> dict[str, str]:
    header_bytes = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + header_bytes])["__metadata__"]
    return metadata


def _tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
