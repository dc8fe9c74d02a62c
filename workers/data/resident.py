"""Datasets as uint8 tensors that sit on the device, and batches cut from them by index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.data.split import ResidentData, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.data.dataset import ImageDataset

BINARISATION_SEED = 20230501
"""Seed of every static binarisation: fixed, so that all trials of all users see the same binary images."""


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
        pixels = self.pixels[indices.to(self.pixels.device)]
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


RawSplit = tuple[NDArray[np.uint8], NDArray[np.integer[Any]] | None]
"""Pixels (N, C, H, W) and labels (N,), or none."""


def prepare(dataset: ImageDataset, splits: Mapping[str, RawSplit], *, flip: bool = False) -> ResidentData:
    """Return raw splits as the dataset's options want them; `flip` mirrors images of the training split at each use."""
    prepared = {}
    for position, (name, (pixels, labels)) in enumerate(splits.items()):
        keep = slice((name == "train" and dataset.train_limit) or None)
        binary = _binarise(pixels, dataset.binarise, position)[keep]
        prepared[name] = Images(
            pixels=torch.from_numpy(binary.copy()),
            labels=None if labels is None else torch.from_numpy(labels[keep].astype(np.int64)),
            dynamic=dataset.binarise == "dynamic",
            flip=flip and name == "train",
        )
    return ResidentData(**prepared)


def _first(tensor: torch.Tensor | None, limit: int) -> torch.Tensor | None:
    return None if tensor is None else tensor[: limit or None]


def _binarise(pixels: NDArray[np.uint8], how: str, position: int) -> NDArray[np.uint8]:
    if how == "threshold":
        return np.where(pixels > 127, np.uint8(255), np.uint8(0))  # noqa: PLR2004 (half of the uint8 range)
    if how == "static":
        # Drawn for the whole split before any limit, so that limiting a set changes no image that remains.
        uniform = np.random.default_rng([BINARISATION_SEED, position]).random(pixels.shape, dtype=np.float32)
        return np.where(uniform * 255 < pixels, np.uint8(255), np.uint8(0))
    return pixels
