"""Street View House Numbers, cropped digits, from the published files: `<root>/SVHN/*_32x32.mat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workers.data.dataset import DataError
from workers.data.published.reading import WithoutValidation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.data.resident import RawSplit

FOLDER = "SVHN"
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


@dataclass(frozen=True)
class SVHN(WithoutValidation):
    """Digits of house numbers, 32×32 (Netzer et al., 2011): 73,257 train, 26,032 test; the extra part is not used."""

    name = "svhn"
    shape = (3, 32, 32)
    published: ClassVar[Mapping[str, int]] = {"train": 73_257, "test": 26_032}
    classes = 10
    summary = "digits of house numbers, 32×32; `data fetch` downloads SVHN/"

    @staticmethod
    def reader() -> Any:
        """Return torchvision's class, which checks the md5 of both files."""
        # Imported here because torchvision takes seconds to import, and planning does not need it.
        from torchvision.datasets import SVHN as TorchvisionSVHN  # noqa: N811 (theirs, not ours)

        return TorchvisionSVHN

    def locate(self, root: Path) -> list[Path]:
        """Return the two files."""
        return [root / FOLDER / name for name in FILES.values()]

    def fetch(self, root: Path) -> None:
        """Download the files with torchvision."""
        for part in FILES:
            self.reader()(str(root / FOLDER), split=part, download=True)

    def read(self, root: Path, part: str) -> RawSplit:
        """Return a part's pixels (N, 3, 32, 32) uint8 and labels (N,). Raises DataError naming file and row."""
        path = root / FOLDER / FILES[part]
        try:
            data = self.reader()(str(root / FOLDER), split=part)
        except RuntimeError as error:
            raise DataError(f"{path}: is not the published file (its md5 differs); {self.again}") from error
        return self.checked(part, [path], data.data, data.labels)
