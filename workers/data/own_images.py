"""What the readers of users' own image files have in common. What those of any files have is in `own_files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.data.dataset import DataError, ImageDataset
from workers.data.own_files import OwnFiles, Source, check_least

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.resident import RawSplit
    from workers.data.split import ResidentData


@dataclass(frozen=True, kw_only=True)
class OwnImages(OwnFiles, ImageDataset):
    """Images from files that the options name, decoded into memory.

    `shape` is the shape of every image: channels, height, width. `train_examples` is the number of examples to train
    on, the first ones of the training file. `validation_examples` is the number that follow them, to the end of the
    training file. `test_examples` is the number of test examples. All examples of a file are used, so that these
    counts must be the file's own. `classes` is the number of classes (0 leaves labels unchecked): labels are whole
    numbers from 0 to one below it. `flip` mirrors each training image left to right with probability 1/2, anew at
    each use.
    """

    shape: tuple[int, int, int]
    classes: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        check_least("classes", self.classes, 0)
        if self.classes and not self.has_labels:
            raise ValueError(f"classes is {self.classes}, but no labels are named; name them, or leave classes at 0")

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing, changed, or not as declared."""
        # Imported here because it needs torch, and planning must not.
        from workers.data.resident import prepare

        self.check_present(root)
        train, test = (self._read_checked(source) for source in self.sources(root))
        first, last = slice(None, self.train_examples), slice(self.train_examples, None)
        splits = {"train": _rows(train, first), "validation": _rows(train, last), "test": test}
        return prepare(self, splits, flip=self.flip)

    def sources(self, root: Path) -> tuple[Source, Source]:
        """Return the training part, with the validation examples at its end, and the test part."""
        train_rows = self.train_examples + self.validation_examples
        return (
            Source(root / self.file_of("train"), "train", train_rows),
            Source(root / self.file_of("test"), "test", self.test_examples),
        )

    def file_of(self, part: str) -> str:
        """Return the path, below the data folder, of the file that holds a part, "train" or "test"."""
        raise NotImplementedError

    def read(self, source: Source) -> RawSplit:
        """Return a part's pixels (N, C, H, W) uint8 and labels (N,), if it has any. Raises DataError."""
        raise NotImplementedError

    def check_rows(self, source: Source, rows: int) -> None:
        """Raise DataError, with the number to write, where a file has other than the declared number of rows."""
        if rows == source.rows:
            return
        declared, right = f"test_examples is {self.test_examples}", f"write test_examples: {rows}"
        if source.part == "train":
            declared = (
                f"train_examples ({self.train_examples}) and validation_examples ({self.validation_examples}) "
                f"make {source.rows}"
            )
            left = rows - self.validation_examples
            right = f"write train_examples: {left}" if left > 0 else "there must be fewer validation_examples"
        raise DataError(f"{source.path}: has {rows} examples, but {declared}; {right}")

    def check_labels(self, source: Source, name: str, labels: NDArray[np.integer[Any]]) -> None:
        """Raise DataError with the first row whose label, in the column or array `name`, is none of the classes."""
        outside = (labels < 0) | (labels >= self.classes)
        if self.classes and outside.any():
            row = int(outside.argmax())
            raise DataError(
                f"{source.path}: row {row:,} of {name!r} has label {labels[row]}; with classes: {self.classes}, "
                f"labels are 0 to {self.classes - 1}"
            )

    def _read_checked(self, source: Source) -> RawSplit:
        self.check_unchanged(source)
        return self.read(source)


def _checked_shape(shape: Any) -> tuple[int, int, int]:
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):  # noqa: PLR2004 (C, H, W)
        raise ValueError(f"shape is {shape!r}; it must be channels, height and width, such as [3, 32, 32]")
    channels, height, width = sizes
    return channels, height, width


def _rows(split: RawSplit, part: slice) -> RawSplit:
    pixels, labels = split
    return pixels[part], None if labels is None else labels[part]
