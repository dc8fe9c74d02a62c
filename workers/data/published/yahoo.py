"""The Yahoo Answers corpus of Yang et al. (2017), with the vocabulary of He et al. (2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.data import text
from workers.data.dataset import DataError
from workers.data.text import TextDataset

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import ResidentData

FILES = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
LINES = {"train": 100_000, "validation": 10_000, "test": 10_000}
WORDS = 19_997
"""Different words of the training file, `_UNK` for rare words among them."""
OTHERWISE = "put the corpus there, or use dataset 'text-lines' for other text"


@dataclass(frozen=True)
class Yahoo(TextDataset):
    """Questions with their answers, 20 to 200 words: 100,000 train, 10,000 validation, 10,000 test.

    The corpus writes rare words as `_UNK`. As in He et al. (2019), `_UNK` is an ordinary word, and the token for
    unknown words is for words that are not in the training file. So the vocabulary has 20,001 entries.
    """

    name = "yahoo"
    longest = 200 + text.MARKS
    vocabulary = len(text.SPECIALS) + WORDS
    train_examples = LINES["train"]
    test_examples = LINES["test"]
    summary = "questions with answers; no download: put train.txt, valid.txt and test.txt in yahoo/"

    def load(self, root: Path) -> ResidentData:
        """Return the splits. Raises DataError where a file is missing or is not from the corpus."""
        # Imported here because it loads torch, which planning must not.
        from workers.data.split import ResidentData

        self.check_present(root)
        lines = {part: self._read(path, part) for part, path in zip(FILES, self.locate(root), strict=True)}
        words = text.by_frequency(lines["train"])
        _require_corpus(self.locate(root)[0], "different words", len(words), WORDS)
        lines["train"] = lines["train"][: self.train_limit or None]
        return ResidentData(*(text.encode(lines[part], words, self.longest) for part in FILES))

    def locate(self, root: Path) -> list[Path]:
        """Return the three files."""
        return [root / "yahoo" / file for file in FILES.values()]

    def how_to_get(self, root: Path) -> str:
        """Return how to get a missing file, as the beginning of a sentence."""
        return (
            "It has no download address: take the corpus of Yang et al. (2017) from the data that He et al. (2019) "
            "publish with the code of 'Lagging Inference Networks' (yahoo.train.txt, yahoo.valid.txt and "
            f"yahoo.test.txt, without labels), and put it in {root / 'yahoo'} as {', '.join(FILES.values())}"
        )

    def fetch(self, root: Path) -> None:
        """Raise DataError, which says where to get it: it has no reliable public address."""
        raise DataError(f"yahoo cannot be fetched. {self.how_to_get(root)}")

    def _read(self, path: Path, part: str) -> list[str]:
        lines = text.read_lines(path)
        _require_corpus(path, "lines", len(lines), LINES[part])
        longest = text.longest_of(lines)
        if longest.tokens > self.longest:
            raise DataError(
                f"{path}: row {longest.row:,} has {longest.words} words, but rows of the corpus have at most "
                f"{self.longest - text.MARKS}; {OTHERWISE}"
            )
        return lines


def _require_corpus(path: Path, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{path}: has {found:,} {what}, but the file of the corpus has {expected:,}; {OTHERWISE}")
