"""The order of training examples, as a function of (seed, epoch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Iterator


class EpochSampler:
    """Batches of shuffled indices; the last, smaller batch of an epoch is left out, another one each epoch.

    A set smaller than one batch is one batch.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        self.examples = examples
        self.batch_size = min(batch_size, examples)
        self.seed = seed

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return self.examples // self.batch_size

    def batches(self, epoch: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Yield the index batches (B,) int64 of an epoch, on the CPU, from the batch numbered `start`."""
        order = torch.randperm(self.examples, generator=generator(torch.device("cpu"), self.seed, "order", epoch))
        for step in range(start, self.steps_per_epoch):
            yield order[step * self.batch_size : (step + 1) * self.batch_size]
