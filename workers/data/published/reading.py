"""The base classes of published image datasets, whose parts have known sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typing_extensions import Doc

from workers.data.dataset import DataError, Flip, ImageDataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.resident import RawSplit
    from workers.data.split import ResidentData


@dataclass(frozen=True)
class PublishedImages(ImageDataset):
    """Images in parts of known sizes."""

    published: ClassVar[Mapping[str, int]]
    """The number of images of the parts "train", "validation", if there is one, and "test"."""

    @property
    def train_examples(self) -> int:
        """The number of training examples before any limit."""
        return self.published["train"]

    @property
    def test_examples(self) -> int:
        """The number of test examples."""
        return self.published["test"]

    @property
    def again(self) -> str:
        """The next step for a damaged file, as the end of a sentence."""
        return f"get it again with `mrvae-orch data fetch {self.name} --again`"


@dataclass(frozen=True)
class WithoutValidation(PublishedImages):
    """Images with labels in a training and a test part."""

    validation_examples: Annotated[int, Doc("Number of validation examples: the last ones of the training part.")] = 0
    flip: Flip = False

    classes: ClassVar[int]
    """The number of classes; labels count from 0."""
    evaluated: ClassVar[str] = ""
    """The binarisation of validation and test images where that of training is dynamic; empty: dynamic too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.validation_examples < self.published["train"]:
            raise ValueError(
                f"validation_examples is {self.validation_examples}; it must be 0 or more, and below the "
                f"{self.published['train']:,} training examples"
            )

    @property
    def train_examples(self) -> int:
        """The number of training examples before any limit."""
        return self.published["train"] - self.validation_examples

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "validation", "test") if self.validation_examples else ("train", "test")

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing or damaged."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.resident import prepare, with_validation

        self.check_present(root)
        splits = with_validation(self.read(root, "train"), self.read(root, "test"), self.train_examples)
        return prepare(self, splits, flip=self.flip, evaluated=self.evaluated if self.binarise == "dynamic" else "")

    def read(self, root: Path, part: str) -> RawSplit:
        """Return a part's pixels (N, C, H, W) uint8 and labels (N,). Raises DataError naming file and row."""
        raise NotImplementedError

    def checked(
        self, part: str, files: Sequence[Path], pixels: NDArray[np.uint8], labels: NDArray[np.integer[Any]]
    ) -> RawSplit:
        """Return a part after a check of its size and labels. Raises DataError naming file and row.

        The files have equal numbers of rows, in the order of the arrays.
        """
        rows = self.published[part]
        if pixels.shape != (rows, *self.shape) or labels.shape != (rows,):
            raise DataError(
                f"{files[0]}: the {part} images are {pixels.shape} and their labels {labels.shape}, not "
                f"{(rows, *self.shape)} and {(rows,)}; {self.again}"
            )
        outside = (labels < 0) | (labels >= self.classes)
        if outside.any():
            label = labels[row := int(outside.argmax())]
            file, row = divmod(row, rows // len(files))
            raise DataError(
                f"{files[file]}: row {row:,} has label {label}; labels are 0 to {self.classes - 1}; {self.again}"
            )
        return pixels, labels


def damaged(md5s: Mapping[Path, str]) -> Path | None:
    """Return the first file that is missing or has another md5, or None where all are correct."""
    # Imported here because torchvision takes seconds to import, and planning does not need it.
    from torchvision.datasets.utils import check_integrity

    return next((path for path, md5 in md5s.items() if not check_integrity(str(path), md5)), None)
