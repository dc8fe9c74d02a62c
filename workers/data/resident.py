"""Datasets of images as uint8 tensors, on the device or mapped from disk, and batches cut from them by index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.data.prepared import prepared_array
from workers.data.split import ResidentData, Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workers.data.dataset import ImageDataset

BINARISATION_SEED = 20230501
"""Seed of every static binarisation: fixed, so that all trials of all users see the same binary images."""
LARGEST_RESIDENT = 2**30
"""Bytes of the largest split of a prepared array that is read into memory; a larger one stays mapped from disk.

Every process holds what is resident by itself, so that sixteen workers of a machine take 16 GiB for a split at most;
what is mapped is in memory once for all of them, and no more of it than fits.
"""
BLOCK = 1024
"""Images that are binarised at once."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Images(Split):
    """One split: pixels (N, C, H, W) uint8, labels (N,) int64 or none, and how batches are made of them.

    `dynamic` batches are drawn from the pixels; with `flip` each image is mirrored left to right or is not.
    `factors` (N, K) int64 are the true factors of variation, where they are known.
    """

    pixels: torch.Tensor
    labels: torch.Tensor | None
    dynamic: bool = False
    flip: bool = False
    factors: torch.Tensor | None = None

    lengths = None

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.pixels.shape[1:])

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the examples at `indices` as float32 in [0, 1], (B, C, H, W); see `Split.batch`.

        With dynamic binarisation each pixel is 1 with the probability of its grey value, drawn from `generator`;
        flips have probability 1/2 and are drawn from it as well, before that.
        """
        pixels = self._gather(indices)
        if self.flip:
            mirrored = torch.rand(len(pixels), 1, 1, 1, generator=generator, device=pixels.device) < 0.5  # noqa: PLR2004 (one in two)
            pixels = torch.where(mirrored, pixels.flip(-1), pixels)
        x = pixels.to(torch.float32).div_(255)
        return torch.bernoulli(x, generator=generator) if self.dynamic else x

    def first(self, limit: int) -> Images:
        """Return the split's first examples, all of them for a limit of 0."""
        labels, factors = _first(self.labels, limit), _first(self.factors, limit)
        return replace(self, pixels=self.pixels[: limit or None], labels=labels, factors=factors)

    def to(self, device: torch.device) -> Images:
        """Return the split on another device."""
        return replace(self, pixels=self.pixels.to(device))

    def to_evaluate(self) -> Images:
        """Return the split with no image flipped."""
        return replace(self, flip=False)

    def _gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.pixels[indices.to(self.pixels.device)]


@dataclass(frozen=True)
class MappedImages(Images):
    """A split whose pixels stay on disk, mapped: batches are gathered on the CPU and moved to `device`."""

    device: torch.device = CPU

    def to(self, device: torch.device) -> MappedImages:
        """Return the split with its batches on another device; the pixels stay where they are."""
        return replace(self, device=device)

    def _gather(self, indices: torch.Tensor) -> torch.Tensor:
        pixels = self.pixels[indices]
        # From pinned memory the copy to a GPU goes on while the CPU prepares the next thing.
        return pixels.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else pixels


RawSplit = tuple[NDArray[np.uint8], NDArray[np.integer[Any]] | None]
"""Pixels (N, C, H, W) and labels (N,), or none. Pixels of `prepared_array` are a whole one, not a part of it."""


def prepare(
    dataset: ImageDataset, splits: Mapping[str, RawSplit], *, flip: bool = False, evaluated: str = ""
) -> ResidentData:
    """Return raw splits as the dataset's options want them.

    `flip` mirrors images of the training split at each use. `evaluated` is how the other splits are binarised, where
    it is not as the training split is. Prepared arrays above `LARGEST_RESIDENT` stay on disk; everything else is read
    into memory.
    """
    prepared = {}
    for position, (name, (pixels, labels)) in enumerate(splits.items()):
        training = name == "train"
        how = dataset.binarise if training or not evaluated else evaluated
        keep = slice((training and dataset.train_limit) or None)
        binary = _binarise(pixels, how, position)[keep]
        mapped = isinstance(binary, np.memmap) and binary.nbytes > LARGEST_RESIDENT
        kind = MappedImages if mapped else Images
        prepared[name] = kind(
            pixels=torch.from_numpy(binary if mapped else np.array(binary)),
            labels=None if labels is None else torch.from_numpy(labels[keep].astype(np.int64)),
            dynamic=how == "dynamic",
            flip=flip and training,
        )
    return ResidentData(**prepared)


def _first(tensor: torch.Tensor | None, limit: int) -> torch.Tensor | None:
    return None if tensor is None else tensor[: limit or None]


def _binarise(pixels: NDArray[np.uint8], how: str, position: int) -> NDArray[np.uint8]:
    if how not in ("threshold", "static"):
        return pixels
    draw = _threshold if how == "threshold" else _Static(position)
    if not isinstance(pixels, np.memmap):
        return draw(pixels)
    # Once for all, into a file beside the grey one, so that no process ever holds all of it.
    source = Path(str(pixels.filename))
    if source.stat().st_size != pixels.offset + pixels.nbytes:
        raise ValueError(f"{len(pixels):,} images are a part of {source}; prepare an array of theirs alone")
    key = f"{source.stem}-{how}-{position}" if how == "static" else f"{source.stem}-{how}"
    return prepared_array(source.parent.parent, key, pixels.shape, lambda: map(draw, _blocks(pixels)))


def _blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), BLOCK):
        yield pixels[start : start + BLOCK]


def _threshold(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(pixels > 127, np.uint8(255), np.uint8(0))  # noqa: PLR2004 (half of the uint8 range)


class _Static:
    """Draws a split's images one block after the other: the same ones, however long the blocks are."""

    def __init__(self, position: int) -> None:
        self._random = np.random.default_rng([BINARISATION_SEED, position])

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Drawn for the whole split before any limit, so that limiting a set changes no image that remains.
        uniform = self._random.random(pixels.shape, dtype=np.float32)
        return np.where(uniform * 255 < pixels, np.uint8(255), np.uint8(0))
