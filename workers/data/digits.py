"""The 1,797 handwritten digits of 8×8 pixels that are part of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.data.dataset import Binarisation, DataError, ImageDataset

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import ResidentData

SPLIT_SEED = 0


@dataclass(frozen=True)
class Digits(ImageDataset):
    """UCI optical digits, test part (Alpaydin & Kaynak, 1998): 1,297 train, 250 validation, 250 test, shuffled once."""

    binarise: Binarisation = "threshold"

    name = "digits"
    shape = (1, 8, 8)
    train_examples = 1297
    test_examples = 250
    summary = "handwritten digits, 8×8; part of scikit-learn"

    def load(self, root: Path) -> ResidentData:  # noqa: ARG002 (part of a package, so no root is needed)
        """Return the prepared splits."""
        # Imported here, so that planning does not load them.
        import numpy as np
        from sklearn.datasets import load_digits

        from workers.data.resident import prepare

        bunch = load_digits()
        pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        order = np.random.default_rng(SPLIT_SEED).permutation(len(pixels))
        bounds = [self.train_examples, len(pixels) - self.test_examples]
        parts = dict(zip(("train", "validation", "test"), np.split(order, bounds), strict=True))
        return prepare(self, {name: (pixels[part], bunch.target[part]) for name, part in parts.items()})

    def locate(self, root: Path) -> list[Path]:  # noqa: ARG002 (the same for any root)
        """Return no file: the data are part of scikit-learn."""
        return []

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: there is nothing to fetch."""
        raise DataError("digits comes with scikit-learn; there is nothing to fetch")
