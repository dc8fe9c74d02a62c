"""Image datasets as uint8 tensors, on the device or memory-mapped, and batches of them by index."""

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
"""Seed of every static binarisation. It is fixed, so that all trials of all users see the same binary images."""
LARGEST_RESIDENT = 2**30
"""Bytes of the largest split of a prepared array that is read into memory; a larger one stays memory-mapped.

Each process has a copy of its resident splits: for one split, sixteen workers of a machine use 16 GiB at most. A
mapped split is in memory once for all processes, as far as it fits.
"""
BLOCK = 1024
"""Images that are binarised at once."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Images(Split):
    """One split: pixels (N, C, H, W) uint8, labels (N,) int64 or none, and the options of its batches.

    `dynamic` draws the binary pixels of each batch; `flip` mirrors each image left to right with probability 1/2.
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

        `generator` draws the flips first, then the dynamic binarisation: each pixel is 1 with the probability of its
        grey value.
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
        """Return the split without flips."""
        return replace(self, flip=False)

    def _gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.pixels[indices.to(self.pixels.device)]


@dataclass(frozen=True)
class MappedImages(Images):
    """A split with memory-mapped pixels: batches are gathered on the CPU and moved to `device`."""

    device: torch.device = CPU

    def to(self, device: torch.device) -> MappedImages:
        """Return the split with its batches on another device; the pixels stay on disk."""
        return replace(self, device=device)

    def _gather(self, indices: torch.Tensor) -> torch.Tensor:
        pixels = self.pixels[indices]
        # The copy from pinned memory to a GPU is asynchronous.
        return pixels.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else pixels


RawSplit = tuple[NDArray[np.uint8], NDArray[np.integer[Any]] | None]
"""Pixels (N, C, H, W) and labels (N,) or None. Mapped pixels are a whole `prepared_array`, not a slice of one."""


def with_validation(train: RawSplit, test: RawSplit, train_examples: int) -> dict[str, RawSplit]:
    """Return the three splits; the training part from row `train_examples` on is the validation split."""
    pixels, labels = train
    cut = train_examples
    first, last = (None, None) if labels is None else (labels[:cut], labels[cut:])
    return {"train": (pixels[:cut], first), "validation": (pixels[cut:], last), "test": test}


def prepare(
    dataset: ImageDataset, splits: Mapping[str, RawSplit], *, flip: bool = False, evaluated: str = ""
) -> ResidentData:
    """Return the splits after the dataset's binarisation and limit.

    `flip` mirrors training images at random at each use. `evaluated` is the binarisation of the other splits; empty:
    that of the training split. Prepared arrays above `LARGEST_RESIDENT` bytes stay on disk; all others are read into
    memory.
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
    # Written once, to a file beside the grey one, block by block: no process needs all of it in memory.
    source = Path(str(pixels.filename))
    if source.stat().st_size != pixels.offset + pixels.nbytes:
        raise ValueError(f"{len(pixels):,} images are a part of {source}; prepare a separate array for them")
    key = f"{source.stem}-{how}-{position}" if how == "static" else f"{source.stem}-{how}"
    return prepared_array(source.parent.parent, key, pixels.shape, lambda: map(draw, _blocks(pixels)))


def _blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), BLOCK):
        yield pixels[start : start + BLOCK]


def _threshold(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(pixels > 127, np.uint8(255), np.uint8(0))  # noqa: PLR2004 (half of the uint8 range)


class _Static:
    """Draws a split's binary images block by block; the size of the blocks does not change them."""

    def __init__(self, position: int) -> None:
        self._random = np.random.default_rng([BINARISATION_SEED, position])

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Drawn for the whole split before any limit, so that a limit changes no remaining image.
        uniform = self._random.random(pixels.shape, dtype=np.float32)
        return np.where(uniform * 255 < pixels, np.uint8(255), np.uint8(0))
