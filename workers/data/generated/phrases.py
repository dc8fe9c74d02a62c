"""English sentences of a small grammar, generated when they are loaded; no file is needed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.data import text
from workers.data.dataset import DataError
from workers.data.text import TextDataset

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import ResidentData

PARTS = (
    ("a", "the"),
    ("", "kind", "young", "tall", "happy"),
    ("teacher", "farmer", "sailor", "doctor", "painter", "singer", "baker", "pilot"),
    ("finds", "found", "sells", "sold", "draws", "drew", "sees", "saw", "wants", "wanted", "takes", "took"),
    ("one", "every"),
    ("apple", "book", "clock", "horse", "lamp", "letter", "boat", "coat"),
    ("", "today", "in town", "at home", "by the sea", "after the rain"),
)
"""The choices for each part of a sentence; an empty string leaves the part out."""
SHUFFLE_SEED = 19570101
"""Seed of the order of the sentences. It is fixed, so that the splits are the same for all trials of all users."""


def _words() -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for choices in PARTS for choice in choices for word in choice.split()))


@dataclass(frozen=True)
class Phrases(TextDataset):
    """92,160 sentences such as "the kind sailor sold one boat by the sea", shuffled once.

    A sentence has five to nine words, from seven choices: article, adjective, person, verb, number, thing, and time or
    place. No sentence is in two splits: 72,160 train, 10,000 validation, 10,000 test.
    """

    name = "phrases"
    summary = "92,160 English sentences of a small grammar, generated when they are loaded"
    train_examples = 72_160
    validation_examples = 10_000
    test_examples = 10_000
    longest = 11
    vocabulary = len(text.SPECIALS) + len(_words())

    def load(self, root: Path) -> ResidentData:  # noqa: ARG002 (generated, so no root is needed)
        """Return the splits."""
        # Imported here because it loads torch, which planning must not.
        import numpy as np

        from workers.data.split import ResidentData

        sentences = [" ".join(filter(None, parts)) for parts in itertools.product(*PARTS)]
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(sentences))
        bounds = [self.train_examples, self.train_examples + self.validation_examples]
        train, validation, test = ([sentences[row] for row in rows] for rows in np.split(order, bounds))
        kept = (train[: self.train_limit or None], validation, test)
        return ResidentData(*(text.encode(lines, _words(), self.longest) for lines in kept))

    def locate(self, root: Path) -> list[Path]:  # noqa: ARG002 (the same for any root)
        """Return no file: the sentences are generated."""
        return []

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: there is nothing to fetch."""
        raise DataError("phrases are generated when they are loaded; there is nothing to fetch")
