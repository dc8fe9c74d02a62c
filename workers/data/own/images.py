"""The base class of datasets that read the user's own image files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typing_extensions import Doc

from workers.data.dataset import DataError, Flip, ImageDataset
from workers.data.own.files import OwnFiles, Source, check_least, checked_path

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.resident import RawSplit
    from workers.data.split import ResidentData


@dataclass(frozen=True, kw_only=True)
class OwnImages(OwnFiles, ImageDataset):
    """Images from files that the options name, decoded into memory."""

    shape: Annotated[tuple[int, int, int], Doc("Shape of every image: channels, height, width.")]
    classes: Annotated[int, Doc("Number of classes; labels count from 0. 0 classes: labels are not checked.")] = 0
    flip: Flip = False

    file_options: ClassVar[tuple[str, str]]
    """The options with the paths of the training and the test file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        check_least("classes", self.classes, 0)
        if self.classes and not self.has_labels:
            raise ValueError(f"classes is {self.classes}, but no labels are named; name them, or leave classes at 0")
        for option in self.file_options:
            object.__setattr__(self, option, checked_path(option, getattr(self, option)))

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing, changed, or not as declared."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.resident import prepare, with_validation

        self.check_present(root)
        train, test = (self._read_checked(root, source) for source in self.sources(root))
        return prepare(self, with_validation(train, test, self.train_examples), flip=self.flip)

    def sources(self, root: Path) -> tuple[Source, Source]:
        """Return the training part, with the validation examples at its end, and the test part."""
        train, test = (root / getattr(self, option) for option in self.file_options)
        train_rows = self.train_examples + self.validation_examples
        return Source(train, "train", train_rows), Source(test, "test", self.test_examples)

    def read(self, source: Source) -> RawSplit:
        """Return a part's pixels (N, C, H, W) uint8 and labels (N,), if it has any. Raises DataError."""
        raise NotImplementedError

    def check_rows(self, source: Source, rows: int) -> None:
        """Raise DataError where a file has another number of rows than declared; it gives the number to write."""
        if rows == source.rows:
            return
        declared, right = f"test_examples is {self.test_examples}", f"write test_examples: {rows}"
        if source.part == "train":
            declared = (
                f"train_examples ({self.train_examples}) and validation_examples ({self.validation_examples}) "
                f"make {source.rows}"
            )
            left = rows - self.validation_examples
            right = f"write train_examples: {left}" if left > 0 else "write fewer validation_examples"
        raise DataError(f"{source.path}: has {rows} examples, but {declared}; {right}")

    def check_labels(self, source: Source, name: str, labels: NDArray[np.integer[Any]]) -> None:
        """Raise DataError naming the first row whose label, in the column or array `name`, is not a class."""
        outside = (labels < 0) | (labels >= self.classes)
        if self.classes and outside.any():
            row = int(outside.argmax())
            raise DataError(
                f"{source.path}: row {row:,} of {name!r} has label {labels[row]}; with classes: {self.classes}, "
                f"labels are 0 to {self.classes - 1}"
            )

    def _read_checked(self, root: Path, source: Source) -> RawSplit:
        with self.unchanged(root, source):
            return self.read(source)


def _checked_shape(shape: Any) -> tuple[int, int, int]:
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):  # noqa: PLR2004 (C, H, W)
        raise ValueError(f"shape is {shape!r}; it must be channels, height and width, such as [3, 32, 32]")
    channels, height, width = sizes
    return channels, height, width
