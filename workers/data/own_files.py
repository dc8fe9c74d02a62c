"""What the readers of users' own files have in common.

Planning opens no file, so what a model is built for and the number of examples are options, and so part of a trial's
identity. They are checked against the files when these are read. Rows are counted from 0.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workers.data.dataset import DataError, Dataset

if TYPE_CHECKING:
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

    All examples of a file are used, so that the counts must be the file's own.

    `train_sha256` is the sha256 of the training file, checked when it is read (empty leaves it unchecked).
    `test_sha256` is the sha256 of the test file, likewise. A trial's identity has a file's path and counts and not its
    contents. Without these a changed file with as many examples passes for the old one, and trials that were trained
    on the old one count as done.
    """

    train_examples: int
    test_examples: int
    validation_examples: int = 0
    train_sha256: str = ""
    test_sha256: str = ""

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
        """Return the files, each once, however many parts are in it."""
        return list(dict.fromkeys(source.path for source in self.sources(root)))

    def how_to_get(self, root: Path) -> str:
        """Return what to do about a missing file, as the beginning of a sentence."""
        return f"Put your file there (paths in the options start at {root})"

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: the files are the user's."""
        raise DataError(f"{self.name} reads your own files; there is nothing to fetch")

    def sources(self, root: Path) -> tuple[Source, ...]:
        """Return what is read, the training part first."""
        raise NotImplementedError

    def check_unchanged(self, source: Source) -> None:
        """Raise DataError where the file is not the one whose sha256 is among the options."""
        option = f"{source.part}_sha256"
        if not (declared := getattr(self, option)):
            return
        with source.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != declared:
            raise DataError(
                f"{source.path}: is not the file that {option} names (its sha256 is {found}, not {declared}); put "
                f"that file back, or change {option}, which makes other trials"
            )


def check_least(option: str, value: int, least: int) -> None:
    """Raise ValueError where an option's number is below the least that it can be."""
    if value < least:
        raise ValueError(f"{option} is {value}; it must be {least} or more")


def checked_path(option: str, path: str) -> str:
    """Return an option's path below the data folder, normalised. Raises ValueError where it may lead out of it."""
    parts = PurePosixPath(path)
    if not parts.name or parts.is_absolute() or ".." in parts.parts or re.search(r"[\\\0]|^[A-Za-z]:", path):
        raise ValueError(
            f"{option} is {path!r}; it must be a file's path below the data folder, with '/' and without '..', such as "
            "'mine/images'"
        )
    return str(parts)


def checked_sha256(option: str, digest: str) -> str:
    """Return an option's sha256 in lower case, or none. Raises ValueError where it is no such digest."""
    if digest and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{option} is {digest!r}; it must be 64 hexadecimal digits, or empty")
    return digest.lower()
