"""What the readers of users' own image files have in common.

Planning opens no file, so the shape of an image and the number of examples are options, and so part of a trial's
identity. They are checked against the files when these are read. Rows are counted from 0.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from workers.data.dataset import DataError, ImageDataset

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.resident import RawSplit
    from workers.data.split import ResidentData


@dataclass(frozen=True)
class Source:
    """One file of a dataset: the path, the part ("train" or "test") that it is read for, and the rows declared."""

    path: Path
    part: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class OwnImages(ImageDataset):
    """Images from files that the options name, decoded into memory.

    `shape` is the shape of every image: channels, height, width. `train_examples` is the number of examples to train
    on, the first ones of the training file. `validation_examples` is the number that follow them, to the end of the
    training file. `test_examples` is the number of test examples. All examples of a file are used, so that these
    counts must be the file's own. `classes` is the number of classes (0 leaves labels unchecked): labels are whole
    numbers from 0 to one below it. `flip` mirrors each training image left to right with probability 1/2, anew at
    each use.

    `train_sha256` is the sha256 of the training file, checked when it is read (empty leaves it unchecked).
    `test_sha256` is the sha256 of the test file, likewise. A trial's identity has a file's path and counts and not its
    contents. Without these a changed file with as many examples passes for the old one, and trials that were trained
    on the old one count as done.
    """

    shape: tuple[int, int, int]
    train_examples: int
    test_examples: int
    validation_examples: int = 0
    classes: int = 0
    flip: bool = False
    train_sha256: str = ""
    test_sha256: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        for name, least in (("train_examples", 1), ("test_examples", 1), ("validation_examples", 0), ("classes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {least} or more")
        if self.classes and not self.has_labels:
            raise ValueError(f"classes is {self.classes}, but no labels are named; name them, or leave classes at 0")
        for name in ("train_sha256", "test_sha256"):
            object.__setattr__(self, name, _checked_sha256(name, getattr(self, name)))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "validation", "test") if self.validation_examples else ("train", "test")

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing, changed, or not as declared."""
        # Imported here because it needs torch, and planning must not.
        from workers.data.resident import prepare

        self.check_present(root)
        train, test = (self._read_checked(source) for source in self._sources(root))
        first, last = slice(None, self.train_examples), slice(self.train_examples, None)
        splits = {"train": _rows(train, first), "validation": _rows(train, last), "test": test}
        return prepare(self, splits, flip=self.flip)

    def locate(self, root: Path) -> list[Path]:
        """Return the files, one where both parts are in it."""
        return list(dict.fromkeys(source.path for source in self._sources(root)))

    def how_to_get(self, root: Path) -> str:
        """Return what to do about a missing file, as the beginning of a sentence."""
        return f"Put your file there (paths in the options start at {root})"

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: the files are the user's."""
        raise DataError(f"{self.name} reads your own files; there is nothing to fetch")

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

    def _sources(self, root: Path) -> tuple[Source, Source]:
        train_rows = self.train_examples + self.validation_examples
        return (
            Source(root / self.file_of("train"), "train", train_rows),
            Source(root / self.file_of("test"), "test", self.test_examples),
        )

    def _read_checked(self, source: Source) -> RawSplit:
        option = f"{source.part}_sha256"
        if declared := getattr(self, option):
            with source.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != declared:
                raise DataError(
                    f"{source.path}: is not the file that {option} names (its sha256 is {found}, not {declared}); put "
                    f"that file back, or change {option}, which makes other trials"
                )
        return self.read(source)


def checked_path(option: str, path: str) -> str:
    """Return an option's path below the data folder, normalised. Raises ValueError where it may lead out of it."""
    parts = PurePosixPath(path)
    if not parts.name or parts.is_absolute() or ".." in parts.parts or re.search(r"[\\\0]|^[A-Za-z]:", path):
        raise ValueError(
            f"{option} is {path!r}; it must be a file's path below the data folder, with '/' and without '..', such as "
            "'mine/images'"
        )
    return str(parts)


def _checked_shape(shape: Any) -> tuple[int, int, int]:
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):  # noqa: PLR2004 (C, H, W)
        raise ValueError(f"shape is {shape!r}; it must be channels, height and width, such as [3, 32, 32]")
    channels, height, width = sizes
    return channels, height, width


def _checked_sha256(option: str, digest: str) -> str:
    if digest and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{option} is {digest!r}; it must be 64 hexadecimal digits, or empty")
    return digest.lower()


def _rows(split: RawSplit, part: slice) -> RawSplit:
    pixels, labels = split
    return pixels[part], None if labels is None else labels[part]
