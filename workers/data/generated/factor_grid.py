"""The base class of datasets with one image for each combination of known factors of variation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workers.data.dataset import BinaryImages

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.split import ResidentData

SHUFFLE_SEED = 20170202
"""Seed of the order of the images. It is fixed, so that the first ones are the same for all trials of all users."""


@dataclass(frozen=True)
class FactorGrid(BinaryImages):
    """Black and white images, one for each combination of factor values; training set and test set are the same.

    The published comparisons do the same: they measure how latents and factors are related, not how a model performs
    on unseen images. The images are shuffled once, so that a limit keeps a fair sample. The first factor is the label.
    """

    factor_names: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:
        # A constant of one dataset, computed from the options of another; see `Dataset`.
        @property
        def factor_sizes(self) -> tuple[int, ...]:
            """The number of values of each factor."""

    @property
    def train_examples(self) -> int:
        """The number of images, all of them."""
        return math.prod(self.factor_sizes)

    @property
    def test_examples(self) -> int:
        """The number of images, all of them."""
        return self.train_examples

    @property
    def has_factors(self) -> bool:
        """Always true."""
        return True

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "test")

    def load(self, root: Path) -> ResidentData:
        """Return the splits with factors. Raises DataError where a file is missing, damaged or cannot be written."""
        # Imported here because they load torch, which planning must not.
        import numpy as np
        import torch

        from workers.data.resident import Images, MappedImages
        from workers.data.split import ResidentData

        self.check_present(root)
        order = self.order()
        pixels = self.images(root, order)
        factors = torch.from_numpy(self.factors_of(order))
        # A slice of a mapped array is a view of it, and still mapped.
        kind = MappedImages if isinstance(pixels, np.memmap) else Images
        every = torch.from_numpy(pixels)

        def first(examples: int) -> Images:
            return kind(every[:examples], labels=factors[:examples, 0], factors=factors[:examples])

        return ResidentData(first(self.examples_per_epoch), validation=first(0), test=first(self.test_examples))

    def order(self) -> NDArray[np.int64]:
        """Return the grid's row of each example (N,): all rows, shuffled."""
        import numpy as np

        return np.random.default_rng(SHUFFLE_SEED).permutation(self.train_examples)

    def images(self, root: Path, order: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return all pixels (N, *shape), each 0 or 255, by this order of the grid's rows. Raises DataError."""
        raise NotImplementedError

    def factors_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the factors (B, K) of rows (B,) of the grid, whose last factor varies fastest; each counts from 0."""
        import numpy as np

        return np.stack(np.unravel_index(rows, self.factor_sizes), axis=1).astype(np.int64)
