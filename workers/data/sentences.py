"""Text datasets as tensors of tokens in memory, and batches of them by index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.vae import END, PAD, START
from workers.data.split import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


@dataclass(frozen=True)
class Sentences(Split):
    """One split of text: tokens (N, longest) int32, each row START, words, END, then PAD.

    `lengths` (N,) int64, on the CPU, count the tokens besides PAD. `vocabulary` has the word of each token.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(longest, vocabulary)."""
        return (self.tokens.shape[1], len(self.vocabulary))

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG002 (nothing is drawn)
        """Return the sentences at `indices` as int64 (B, T), T the longest of them; see `Split.batch`."""
        longest = int(self.lengths[indices].max())
        return self.tokens[indices.to(self.tokens.device), :longest].long()

    def first(self, limit: int) -> Sentences:
        """Return the split's first sentences, all of them for a limit of 0."""
        return replace(self, tokens=self.tokens[: limit or None], lengths=self.lengths[: limit or None])

    def to(self, device: torch.device) -> Sentences:
        """Return the split on another device."""
        return replace(self, tokens=self.tokens.to(device))

    def share_of_longest(self, x: torch.Tensor) -> float:
        """Return the length of a batch over that of the longest possible sentence."""
        return x.shape[1] / self.tokens.shape[1]

    def mean_share_of_longest(self) -> float:
        """Return the mean length over that of the longest possible sentence."""
        return float(self.lengths.double().mean()) / self.tokens.shape[1]

    def words(self, tokens: torch.Tensor) -> list[str]:
        """Return sentences (B, T) as text: the words before END, separated by spaces, without PAD and START."""
        return [self._text(row) for row in tokens.tolist()]

    def _text(self, tokens: Sequence[int]) -> str:
        until = tokens.index(END) if END in tokens else len(tokens)
        return " ".join(self.vocabulary[token] for token in tokens[:until] if token not in (PAD, START))
