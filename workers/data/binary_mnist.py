"""MNIST as Larochelle binarised it, once and for all: `<root>/binary_mnist/binarized_mnist_*.amat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workers.data.dataset import DataError
from workers.data.fetching import download
from workers.data.published import PublishedImages

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
class BinaryMNIST(PublishedImages):
    """Handwritten digits, 28×28, black and white (Larochelle & Murray, 2011): 50,000 train, 10,000, 10,000.

    The images that results on "static MNIST" are stated for. They have no labels.
    """

    name = "binary-mnist"
    shape = (1, 28, 28)
    published: ClassVar[Mapping[str, int]] = {"train": 50_000, "validation": 10_000, "test": 10_000}
    summary = "MNIST in Larochelle's fixed binarisation; fetch, or binary_mnist/*.amat below the data folder"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binarise != "none":
            raise ValueError(f"binarise is {self.binarise!r}, but the images of {self.name} are binary; leave it out")

    @property
    def has_labels(self) -> bool:
        """Whether every example has a label."""
        return False

    @property
    def is_binary(self) -> bool:
        """Whether every pixel the model sees is 0 or 1, so that a Bernoulli likelihood is a proper one."""
        return True

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing or damaged."""
        # Imported here because it needs torch, and planning must not.
        from workers.data.resident import prepare

        self.check_present(root)
        return prepare(self, {part: (self._read(root, part), None) for part in FILES})

    def locate(self, root: Path) -> list[Path]:
        """Return the three files."""
        return [root / FOLDER / name for name in FILES.values()]

    def fetch(self, root: Path) -> None:
        """Download the files, and read them to see that they are whole."""
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
    """Return the images (N, 1, 28, 28), 0 and 255, of a text with an image's 784 zeros and ones in each line.

    Raises ValueError naming the first row that is wrong.
    """
    # Imported here for the sake of planning, which reads this module's configuration only.
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
