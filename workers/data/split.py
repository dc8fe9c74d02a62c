"""What every part of a dataset offers, whatever its examples are: batches by index, on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    import torch


class Split(ABC):
    """One part of a dataset: train, validation or test."""

    lengths: torch.Tensor | None
    """The length of each example (N,) int64 on the CPU where they differ: batches are then of like lengths."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, as the dataset has it."""

    @abstractmethod
    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the examples at `indices` (B,) int64, on the CPU, as a model takes them, on the generator's device."""

    @abstractmethod
    def first(self, limit: int) -> Self:
        """Return the split's first examples, all of them for a limit of 0."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Return the split with its batches on another device."""

    def to_evaluate(self) -> Self:
        """Return the split without what only training does to its examples, such as flips."""
        return self

    def share_of_longest(self, x: torch.Tensor) -> float:  # noqa: ARG002 (images are all alike)
        """Return how much work an example of this batch is, as a share of one of the longest."""
        return 1.0

    def mean_share_of_longest(self) -> float:
        """Return how much work an example is on average, as a share of one of the longest."""
        return 1.0


@dataclass(frozen=True)
class ResidentData:
    """The three splits of a dataset."""

    train: Split
    validation: Split
    test: Split

    def split(self, name: str) -> Split:
        """Return a split by its name, train, validation or test, to evaluate on."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name].to_evaluate()

    def to(self, device: torch.device) -> ResidentData:
        """Return the splits on another device."""
        return ResidentData(*(split.to(device) for split in (self.train, self.validation, self.test)))
