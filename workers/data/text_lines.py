"""Sentences from text files, one a line, and a vocabulary of the training file's words; `text` says what a word is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.data import text
from workers.data.dataset import DataError
from workers.data.own_files import OwnFiles, Source, check_least, checked_path, checked_sha256
from workers.data.text import TextDataset

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import ResidentData


@dataclass(frozen=True, kw_only=True)
class TextLines(OwnFiles, TextDataset):
    """Your own text: files of one sentence a line, its words parted by spaces, in UTF-8.

    `train_file` is the path of the training file below the data folder. `test_file` is the path of the test file.
    `validation_file` is the path of the validation file, empty where there is none. `train_examples` is the number of
    lines of the training file. `validation_examples` is the number of lines of the validation file, 0 where there is
    none. `test_examples` is the number of lines of the test file.

    `longest` is the number of tokens of the longest sentence: its words, and one token each for its start and its end.
    `cut` leaves out what is too long of a sentence, where such a one is an error otherwise. `vocabulary` is the number
    of different tokens: one for each of the most frequent words of the whole training file, and four for padding,
    start, end and the words that have none. `unknown` is the word by which the files themselves write unknown words,
    which is given the token of those; empty where they have none.

    `validation_sha256` is the sha256 of the validation file, checked when it is read (empty leaves it unchecked).
    """

    train_file: str
    test_file: str
    validation_file: str = ""
    longest: int
    vocabulary: int
    cut: bool = False
    unknown: str = "_UNK"
    validation_sha256: str = ""

    name = "text-lines"
    summary = "your own text: files of one sentence a line; options in a spec"

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
        # Imported here because it needs torch, and planning must not.
        from workers.data.split import ResidentData

        self.check_present(root)
        lines = {source.part: self._read(source) for source in self.sources(root)}
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

    def _read(self, source: Source) -> list[str]:
        self.check_unchanged(source)
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
                f"{path}: has {len(words)} different words, too few for vocabulary: {self.vocabulary}; with the four "
                f"tokens that are no words write vocabulary: {len(words) + len(text.SPECIALS)}, or less"
            )
        return words[:room]
