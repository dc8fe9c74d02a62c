"""The base class of datasets that read the user's own files.

Planning opens no file, so the shape of an example and the number of examples are options, and part of a trial's
identity. They are compared with the files when these are read. Rows are counted from 0.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Self

from typing_extensions import Doc

from workers.data.content import content_sha256, file_state
from workers.data.dataset import DataError, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One file of a dataset: the path, the part ("train", …) that it is read for, and the rows declared."""

    path: Path
    part: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class OwnFiles(Dataset):
    """Examples from files that the options name, read into memory.

    All examples of a file are used, so the counts must be those of the file. The sha256 of its content is part of a
    trial's identity: a sweep gets those of the files that it is submitted with (`with_content`).
    """

    train_examples: Annotated[int, Doc("Number of training examples: the first ones of the training file.")]
    test_examples: Annotated[int, Doc("Number of examples in the test file.")]
    validation_examples: Annotated[int, Doc("Number of validation examples: the last ones of the training file.")] = 0
    train_sha256: Annotated[str, Doc("sha256 of the training file; empty: that of the file at submission.")] = ""
    test_sha256: Annotated[str, Doc("sha256 of the test file; empty: that of the file at submission.")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("train_examples", 1), ("test_examples", 1), ("validation_examples", 0)):
            check_least(name, getattr(self, name), least)
        for name in ("train_sha256", "test_sha256"):
            object.__setattr__(self, name, checked_sha256(name, getattr(self, name)))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "validation", "test") if self.validation_examples else ("train", "test")

    def locate(self, root: Path) -> list[Path]:
        """Return the files, each once, even where it has several parts."""
        return list(dict.fromkeys(source.path for source in self.sources(root)))

    def how_to_get(self, root: Path) -> str:
        """Return how to get a missing file, as the beginning of a sentence."""
        return f"Put your file there (paths in the options start at {root})"

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: the files are the user's."""
        raise DataError(f"{self.name} reads your own files; there is nothing to fetch")

    def sources(self, root: Path) -> tuple[Source, ...]:
        """Return the parts and their files, the training part first."""
        raise NotImplementedError

    def with_content(self, root: Path) -> Self:
        """Return the configuration with the sha256 of each of its files that has none. Raises DataError."""
        found: dict[str, Any] = {
            option: content_sha256(root, source.path)
            for source in self.sources(root)
            if not getattr(self, option := f"{source.part}_sha256")
        }
        return replace(self, **found)

    @property
    def content_hashes(self) -> dict[str, str]:
        """The sha256 of the file of each part, where it is known."""
        sha256 = {part: getattr(self, f"{part}_sha256", "") for part in self.splits}
        return {part: digest for part, digest in sha256.items() if digest}

    @contextlib.contextmanager
    def unchanged(self, root: Path, source: Source) -> Iterator[None]:
        """Check that the file has the declared content, and that it stays so while the block reads it.

        Raises DataError where it has not, or does not.
        """
        option = f"{source.part}_sha256"
        before = file_state(source.path)
        declared = getattr(self, option)
        if declared and (found := content_sha256(root, source.path)) != declared:
            raise DataError(
                f"{source.path}: has another content than the one to train or evaluate on (its sha256 is {found}, and "
                f"{option} is {declared}); put that file back, or submit the sweep under another name to use this one"
            )
        yield
        if file_state(source.path) != before:
            raise DataError(f"{source.path}: changed while it was read; wait until it is written, and submit again")


def check_least(option: str, value: int, least: int) -> None:
    """Raise ValueError where an option's number is below `least`."""
    if value < least:
        raise ValueError(f"{option} is {value}; it must be {least} or more")


def checked_path(option: str, path: str) -> str:
    """Return an option's path below the data folder, normalised. Raises ValueError where it may lead elsewhere."""
    parts = PurePosixPath(path)
    if not parts.name or parts.is_absolute() or ".." in parts.parts or re.search(r"[\\\0]|^[A-Za-z]:", path):
        raise ValueError(
            f"{option} is {path!r}; it must be a file's path below the data folder, with '/' and without '..', such as "
            "'mine/images'"
        )
    return str(parts)


def checked_sha256(option: str, digest: str) -> str:
    """Return an option's sha256 in lower case, or an empty one. Raises ValueError where it is not a sha256."""
    if digest and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{option} is {digest!r}; it must be 64 hexadecimal digits, or empty")
    return digest.lower()
