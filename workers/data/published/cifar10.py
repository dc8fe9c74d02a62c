"""CIFAR-10 from torchvision's on-disk layout: `<root>/cifar-10-batches-py/*`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workers.data.dataset import DataError
from workers.data.published.reading import WithoutValidation, damaged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.data.resident import RawSplit

FOLDER = "cifar-10-batches-py"
FILES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
NAMES_OF_CLASSES = "batches.meta"


@dataclass(frozen=True)
class CIFAR10(WithoutValidation):
    """Small photographs of ten classes, 32×32 (Krizhevsky, 2009): 50,000 train, 10,000 test."""

    flip: bool = True

    name = "cifar10"
    shape = (3, 32, 32)
    published: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    classes = 10
    summary = "photographs of ten classes, 32×32; `data fetch` downloads cifar-10-batches-py/"

    @staticmethod
    def reader() -> Any:
        """Return torchvision's class, which checks the md5 of every file before it unpickles it."""
        # Imported here because torchvision takes seconds to import, and planning does not need it.
        from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10  # noqa: N811 (theirs, not ours)

        return TorchvisionCIFAR10

    def locate(self, root: Path) -> list[Path]:
        """Return the files that torchvision reads."""
        return [root / FOLDER / name for name in (*FILES["train"], *FILES["test"], NAMES_OF_CLASSES)]

    def fetch(self, root: Path) -> None:
        """Download the archive with torchvision and unpack it."""
        reader = self.reader()
        reader(str(root), download=True)
        (root / reader.filename).unlink()

    def read(self, root: Path, part: str) -> RawSplit:
        """Return a part's pixels (N, 3, 32, 32) uint8 and labels (N,). Raises DataError naming file and row."""
        import numpy as np

        reader = self.reader()
        try:
            data = reader(str(root), train=part == "train")
        except RuntimeError as error:
            entries = [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]
            file = damaged({root / FOLDER / name: md5 for name, md5 in entries})
            raise DataError(
                f"{file or root / FOLDER}: is not the published file (its md5 differs); {self.again}"
            ) from error
        files = [root / FOLDER / name for name in FILES[part]]
        return self.checked(part, files, data.data.transpose(0, 3, 1, 2), np.asarray(data.targets))
