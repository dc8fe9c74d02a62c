"""Sentences from text files, one per line, with a vocabulary of the training file's words; `text` defines a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typing_extensions import Doc

from workers.data import text
from workers.data.dataset import DataError
from workers.data.own.files import OwnFiles, Source, check_least, checked_path, checked_sha256
from workers.data.text import TextDataset

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import ResidentData


@dataclass(frozen=True, kw_only=True)
class TextLines(OwnFiles, TextDataset):
    """Your own text: files in UTF-8 with one sentence per line, words separated by spaces."""

    validation_examples: Annotated[int, Doc("Number of lines of the validation file; 0 if there is none.")] = 0
    train_file: Annotated[str, Doc("Path of the training file below the data folder.")]
    test_file: Annotated[str, Doc("Path of the test file below the data folder.")]
    validation_file: Annotated[str, Doc("Path of the validation file below the data folder; empty: none.")] = ""
    longest: Annotated[int, Doc("Tokens of the longest sentence: its words, its start and its end.")]
    vocabulary: Annotated[
        int, Doc("Number of tokens: the most frequent words of the training file, padding, start, end and unknown.")
    ]
    cut: Annotated[bool, Doc("Cut off the end of sentences that are too long; otherwise they are an error.")] = False
    unknown: Annotated[str, Doc("The word in the files that replaces unknown words; empty: none.")] = "_UNK"
    validation_sha256: Annotated[str, Doc("sha256 of the validation file, like the others.")] = ""

    name = "text-lines"
    summary = "your own text: files with one sentence per line; a spec names the files"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least("longest", self.longest, text.MARKS + 1)
        check_least("vocabulary", self.vocabulary, len(text.SPECIALS) + 1)
        if self.unknown and self.unknown.split() != [self.unknown]:
            raise ValueError(f"unknown is {self.unknown!r}; it must be one word, without white space, or empty")
        object.__setattr__(self, "validation_sha256", checked_sha256("validation_sha256", self.validation_sha256))
        for option in ("train_file", "test_file", *(["validation_file"] if self.validation_file else [])):
            object.__setattr__(self, option, checked_path(option, getattr(self, option)))
        self._check_validation()

    def load(self, root: Path) -> ResidentData:
        """Return the splits. Raises DataError where a file is missing, changed, or not as declared."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.split import ResidentData

        self.check_present(root)
        lines = {source.part: self._read(root, source) for source in self.sources(root)}
        words = self._words(root / self.train_file, lines["train"])
        lines["train"] = lines["train"][: self.train_limit or None]
        return ResidentData(
            *(
                text.encode(lines.get(part, []), words, self.longest, self.unknown)
                for part in ("train", "validation", "test")
            )
        )

    def sources(self, root: Path) -> tuple[Source, ...]:
        """Return the two or three files."""
        validation = Source(root / self.validation_file, "validation", self.validation_examples)
        return (
            Source(root / self.train_file, "train", self.train_examples),
            *([validation] if self.validation_file else []),
            Source(root / self.test_file, "test", self.test_examples),
        )

    def _check_validation(self) -> None:
        for option in ("validation_examples", "validation_sha256"):
            if getattr(self, option) and not self.validation_file:
                raise ValueError(f"{option} is {getattr(self, option)}, but no validation_file is named")
        if self.validation_file and not self.validation_examples:
            raise ValueError("validation_examples is 0; write the number of lines of the validation_file")

    def _read(self, root: Path, source: Source) -> list[str]:
        with self.unchanged(root, source):
            lines = text.read_lines(source.path)
        option = f"{source.part}_examples"
        if len(lines) != source.rows:
            raise DataError(
                f"{source.path}: has {len(lines)} lines, but {option} is {source.rows}; write {option}: {len(lines)}"
            )
        longest = text.longest_of(lines)
        if longest.tokens > self.longest and not self.cut:
            raise DataError(
                f"{source.path}: row {longest.row:,} has {longest.words} words, the most of the file; with start and "
                f"end these are {longest.tokens} tokens, but longest is {self.longest}; write longest: "
                f"{longest.tokens}, or cut: true"
            )
        return lines

    def _words(self, path: Path, lines: list[str]) -> list[str]:
        words = [word for word in text.by_frequency(lines) if word != self.unknown]
        room = self.vocabulary - len(text.SPECIALS)
        if len(words) < room:
            raise DataError(
                f"{path}: has {len(words)} different words, too few for vocabulary: {self.vocabulary}; write "
                f"vocabulary: {len(words) + len(text.SPECIALS)} or less, the four special tokens included"
            )
        return words[:room]
