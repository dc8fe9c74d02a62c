"""The order of training examples, as a function of (seed, epoch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Iterator


WINDOW = 50
"""Batches whose examples are sorted together: enough for little padding, and few enough to vary between epochs."""


class EpochSampler:
    """Batches of shuffled indices; the last, smaller batch of each epoch is left out.

    A set smaller than one batch is one batch. With `lengths` (N,), a batch has examples of similar length: those of
    every `WINDOW` batches are sorted by length, then the batches are shuffled.
    """

    def __init__(self, examples: int, batch_size: int, seed: int, lengths: torch.Tensor | None = None) -> None:
        self.examples = examples
        self.batch_size = min(batch_size, examples)
        self.seed = seed
        self.lengths = lengths

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return self.examples // self.batch_size

    def batches(self, epoch: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Yield the index batches (B,) int64 of an epoch, on the CPU, from the batch numbered `start`."""
        random = generator(torch.device("cpu"), self.seed, "order", epoch)
        order = torch.randperm(self.examples, generator=random)
        if self.lengths is not None:
            order = self._alike(order, self.lengths, random)
        for step in range(start, self.steps_per_epoch):
            yield order[step * self.batch_size : (step + 1) * self.batch_size]

    def _alike(self, order: torch.Tensor, lengths: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        kept = order[: self.steps_per_epoch * self.batch_size]
        windows = [window[lengths[window].argsort(stable=True)] for window in kept.split(WINDOW * self.batch_size)]
        batches = torch.cat(windows).view(self.steps_per_epoch, self.batch_size)
        return batches[torch.randperm(self.steps_per_epoch, generator=random)].flatten()
