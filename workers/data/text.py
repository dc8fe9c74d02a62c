"""Text files with one sentence per line, and the conversion of their words to tokens. Rows are counted from 0.

Words are separated by white space, as in `str.split`, and are not changed. A line ends with a line feed, with or
without a carriage return before it. A byte order mark at the start of a file is ignored.
"""

from __future__ import annotations

import codecs
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from workers.data.dataset import DataError, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from models.shapes import Shape
    from workers.data.sentences import Sentences

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
"""The text of PAD, START, END and UNKNOWN."""
MARKS = 2
"""Tokens of a sentence besides its words: START and END."""


@dataclass(frozen=True)
class TextDataset(Dataset):
    """A dataset of sentences: at most `longest` tokens each, START and END included, of `vocabulary` different ones."""

    likelihoods = ("categorical",)

    if TYPE_CHECKING:
        # Constants of a named dataset, options of a general reader; see `Dataset`.
        @property
        def longest(self) -> int:
            """The tokens of the longest possible sentence, START and END included."""

        @property
        def vocabulary(self) -> int:
            """The number of different tokens, the four special ones included."""

    @property
    def shape(self) -> Shape:
        """(longest, vocabulary)."""
        return (self.longest, self.vocabulary)

    @property
    def has_labels(self) -> bool:
        """Whether every example has a label: sentences have none."""
        return False


def read_lines(path: Path) -> list[str]:
    """Return a file's lines. Raises DataError naming the first row without words, with a tab, or not in UTF-8."""
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not content:
        raise DataError(f"{path}: is empty; write one sentence per line")
    # Only the last line feed is removed: a file that ends with an empty line has a row without words.
    lines = [_decoded(path, row, line) for row, line in enumerate(content.removesuffix(b"\n").split(b"\n"))]
    for row, line in enumerate(lines):
        if "\t" in line:
            raise DataError(
                f"{path}: row {row:,} has a tab; remove columns of labels or numbers, and separate words by spaces"
            )
        if not line.strip():
            raise DataError(f"{path}: row {row:,} has no words; remove the empty line")
    return lines


class Longest(NamedTuple):
    """The sentence with the most words, the first of several: its row and the number of its words."""

    row: int
    words: int

    @property
    def tokens(self) -> int:
        """The number of its tokens, START and END included."""
        return self.words + MARKS


def longest_of(lines: Iterable[str]) -> Longest:
    """Return the longest sentence of one or more lines."""
    row, words = max(enumerate(len(line.split()) for line in lines), key=lambda pair: pair[1])
    return Longest(row, words)


def by_frequency(lines: Iterable[str]) -> list[str]:
    """Return the different words by falling frequency; equally frequent ones in the order of the text."""
    counts = Counter(chain.from_iterable(line.split() for line in lines))
    return [word for word, _ in counts.most_common()]


def encode(lines: Sequence[str], words: Iterable[str], longest: int, unknown: str = "") -> Sentences:
    """Return the lines' sentences. Each of `words` has one token, in their order, the first one after UNKNOWN.

    Every other word becomes UNKNOWN, whose text is `unknown` if given. Words beyond the `longest` tokens of a
    sentence, START and END included, are left out.
    """
    # Imported here, so that planning does not load them.
    import numpy as np
    import torch

    from models.vae import END, PAD, START, UNKNOWN
    from workers.data.sentences import Sentences

    vocabulary = (*SPECIALS[:UNKNOWN], unknown or SPECIALS[UNKNOWN], *words)
    token_of: Mapping[str, int] = {word: token for token, word in enumerate(vocabulary) if token > UNKNOWN}
    tokens = np.full((len(lines), longest), PAD, np.int32)
    lengths = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        known = [token_of.get(word, UNKNOWN) for word in line.split()[: longest - MARKS]]
        lengths[row] = len(known) + MARKS
        tokens[row, : lengths[row]] = [START, *known, END]
    return Sentences(torch.from_numpy(tokens), torch.from_numpy(lengths), vocabulary)


def _decoded(path: Path, row: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: row {row:,} is not UTF-8 (its byte {error.start:,} is 0x{line[error.start]:02x}); save the file "
            "as UTF-8"
        ) from error
