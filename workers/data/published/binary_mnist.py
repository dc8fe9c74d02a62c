"""MNIST in Larochelle's fixed binarisation: `<root>/binary_mnist/binarized_mnist_*.amat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workers.data.dataset import BinaryImages, DataError
from workers.data.published.reading import PublishedImages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.split import ResidentData

URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
FOLDER = "binary_mnist"
FILES = {part: f"binarized_mnist_{part[:5]}.amat" for part in ("train", "validation", "test")}
PIXELS = 28 * 28


@dataclass(frozen=True)
class BinaryMNIST(BinaryImages, PublishedImages):
    """Handwritten digits, 28×28, black and white (Larochelle & Murray, 2011).

    50,000 train, 10,000 validation, 10,000 test: the images of published results on "static MNIST". They have no
    labels. `binarise` must be none: every pixel is 0 or 1 already.
    """

    name = "binary-mnist"
    shape = (1, 28, 28)
    published: ClassVar[Mapping[str, int]] = {"train": 50_000, "validation": 10_000, "test": 10_000}
    summary = "MNIST in Larochelle's fixed binarisation; `data fetch` downloads binary_mnist/"

    @property
    def has_labels(self) -> bool:
        """Whether every example has a label."""
        return False

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing or damaged."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.resident import prepare

        self.check_present(root)
        return prepare(self, {part: (self._read(root, part), None) for part in FILES})

    def locate(self, root: Path) -> list[Path]:
        """Return the three files."""
        return [root / FOLDER / name for name in FILES.values()]

    def fetch(self, root: Path) -> None:
        """Download the files and check them."""
        from workers.data.published.fetching import download  # planning needs no HTTP

        for part, path in zip(FILES, self.locate(root), strict=True):
            download(f"{URL}/{path.name}", path)
            self._read(root, part)

    def _read(self, root: Path, part: str) -> NDArray[np.uint8]:
        path = root / FOLDER / FILES[part]
        try:
            return _from_amat(path.read_bytes(), self.published[part])
        except ValueError as error:
            raise DataError(f"{path}: {error}; {self.again}") from error


def _from_amat(text: bytes, rows: int) -> NDArray[np.uint8]:
    """Return the images (N, 1, 28, 28), 0 and 255, of a text with the 784 zeros and ones of an image in each line.

    Raises ValueError naming the first wrong row.
    """
    # Imported here, so that planning does not load NumPy.
    import numpy as np

    content = np.frombuffer(text.rstrip() + b"\n", np.uint8)
    is_pixel = content > ord(" ")
    ends = np.flatnonzero(content == ord("\n"))
    in_row = np.add.reduceat(is_pixel, np.concatenate([[0], ends[:-1] + 1]), dtype=np.int32)
    if (in_row != PIXELS).any():
        row = int((in_row != PIXELS).argmax())
        raise ValueError(f"row {row:,} has {in_row[row]} pixels, not {PIXELS}")
    if len(in_row) != rows:
        raise ValueError(f"has {len(in_row):,} rows, not {rows:,}")
    pixels = content[is_pixel]
    strange = (pixels != ord("0")) & (pixels != ord("1"))
    if strange.any():
        place = int(strange.argmax())
        raise ValueError(f"row {place // PIXELS:,} has {chr(pixels[place])!r}; pixels are 0 or 1")
    return ((pixels == ord("1")) * np.uint8(255)).reshape(rows, 1, 28, 28)
