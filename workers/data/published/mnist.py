"""MNIST from torchvision's on-disk layout: `<root>/MNIST/raw/*-ubyte`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.data.dataset import Binarisation, DataError, ImageDataset

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.split import ResidentData

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
EXAMPLES = {"train": 60_000, "test": 10_000}
IMAGE_MAGIC, LABEL_MAGIC = 2051, 2049


@dataclass(frozen=True)
class MNIST(ImageDataset):
    """Handwritten digits, 28×28 (LeCun et al., 1998): 50,000 train, the last 10,000 validation, 10,000 test."""

    binarise: Binarisation = "static"

    name = "mnist"
    shape = (1, 28, 28)
    train_examples = 50_000
    test_examples = 10_000
    summary = "handwritten digits, 28×28; `data fetch` downloads MNIST/raw/"

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing or damaged."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.resident import prepare, with_validation

        self.check_present(root)
        folder = root / "MNIST" / "raw"
        arrays = {
            (split, kind): _read_idx(folder / file, EXAMPLES[split], kind) for (split, kind), file in FILES.items()
        }
        train, test = ((arrays[split, "images"], arrays[split, "labels"]) for split in EXAMPLES)
        return prepare(self, with_validation(train, test, self.train_examples))

    def locate(self, root: Path) -> list[Path]:
        """Return the four files."""
        return [root / "MNIST" / "raw" / file for file in FILES.values()]

    def fetch(self, root: Path) -> None:
        """Download the files with torchvision. Raises DataError where no mirror answers."""
        # Imported here because torchvision takes seconds to import and only fetching needs it.
        from torchvision import datasets

        try:
            for train in (True, False):
                datasets.MNIST(str(root), train=train, download=True)
        except (RuntimeError, OSError) as error:
            raise DataError(f"mnist could not be downloaded to {root}: {error}") from error


def _read_idx(path: Path, examples: int, kind: str) -> NDArray[np.uint8]:
    # Imported here, so that planning does not load NumPy.
    import numpy as np

    content = path.read_bytes()
    header, shape = _expected_header(examples, kind)
    if content[: len(header)] != header:
        raise DataError(f"{path}: not the MNIST file of {examples:,} {kind} (its header differs); fetch it again")
    body = np.frombuffer(content, dtype=np.uint8, offset=len(header))
    expected = int(np.prod(shape))
    if body.size != expected:
        row = body.size // (expected // examples)
        raise DataError(f"{path}: ends in row {row:,} of {examples:,} (truncated or too long); fetch it again")
    if kind == "labels" and body.max() > 9:  # noqa: PLR2004 (ten digits)
        row = int((body > 9).argmax())  # noqa: PLR2004 (ten digits)
        raise DataError(f"{path}: row {row:,} has label {body[row]}; MNIST's labels are 0 to 9; fetch it again")
    return body.reshape(shape)


def _expected_header(examples: int, kind: str) -> tuple[bytes, tuple[int, ...]]:
    if kind == "labels":
        return struct.pack(">II", LABEL_MAGIC, examples), (examples,)
    return struct.pack(">IIII", IMAGE_MAGIC, examples, 28, 28), (examples, 1, 28, 28)
