"""What datasets have in common that hold one image of every combination of known factors of variation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workers.data.dataset import ImageDataset

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.split import ResidentData

SHUFFLE_SEED = 20170202
"""Seed of the order of the images: fixed, so that the first ones are the same for all trials of all users."""


@dataclass(frozen=True)
class FactorGrid(ImageDataset):
    """Black and white images, one of every combination of some factors; all are training set and test set alike.

    So the published comparisons have it: they ask how latents and factors are related, and nothing of unseen images.
    The images are shuffled once, so that limits keep a fair sample. The first factor is the label.

    `binarise` stays at none, since every pixel is 0 or 1 already.
    """

    factor_names: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:
        # As the shape: a constant of a named dataset, made of the options of another.
        @property
        def factor_sizes(self) -> tuple[int, ...]:
            """The number of values of each factor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binarise != "none":
            raise ValueError(f"binarise is {self.binarise!r}, but the images of {self.name} are binary; leave it out")

    @property
    def train_examples(self) -> int:
        """The number of images, all of them."""
        return math.prod(self.factor_sizes)

    @property
    def test_examples(self) -> int:
        """The number of images, all of them."""
        return self.train_examples

    @property
    def is_binary(self) -> bool:
        """Whether every pixel the model sees is 0 or 1, so that a Bernoulli likelihood is a proper one."""
        return True

    @property
    def has_factors(self) -> bool:
        """Whether the factors of variation of every example are known: all of them are."""
        return True

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "test")

    def load(self, root: Path) -> ResidentData:
        """Return the splits, with factors. Raises DataError where a file is missing, damaged or cannot be written."""
        # Imported here because they need torch, and planning must not.
        import numpy as np
        import torch

        from workers.data.resident import Images, MappedImages
        from workers.data.split import ResidentData

        self.check_present(root)
        order = self.order()
        pixels = self.images(root, order)
        factors = torch.from_numpy(self.factors_of(order))
        # A part of a mapped array is a view of it, and still mapped.
        kind = MappedImages if isinstance(pixels, np.memmap) else Images
        every = torch.from_numpy(pixels)

        def first(examples: int) -> Images:
            return kind(every[:examples], labels=factors[:examples, 0], factors=factors[:examples])

        return ResidentData(first(self.examples_per_epoch), validation=first(0), test=first(self.test_examples))

    def order(self) -> NDArray[np.int64]:
        """Return the row of the grid (N,) that each example is: all rows, shuffled."""
        import numpy as np

        return np.random.default_rng(SHUFFLE_SEED).permutation(self.train_examples)

    def images(self, root: Path, order: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return all pixels (N, *shape), each 0 or 255, in this order of the grid's rows. Raises DataError."""
        raise NotImplementedError

    def factors_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the factors (B, K) of rows (B,) of the grid, whose last factor varies fastest; each counts from 0."""
        import numpy as np

        return np.stack(np.unravel_index(rows, self.factor_sizes), axis=1).astype(np.int64)
