"""The interface of every split of a dataset: batches by index, on the device."""

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
    """The lengths (N,) int64 of the examples, on the CPU, where they differ: batches then have similar lengths."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, as in the dataset's configuration."""

    @abstractmethod
    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the examples at `indices` (B,) int64 on the CPU, as a model's input on the generator's device."""

    @abstractmethod
    def first(self, limit: int) -> Self:
        """Return the split's first examples, all of them for a limit of 0."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Return the split with its batches on another device."""

    def to_evaluate(self) -> Self:
        """Return the split without the augmentation of training, such as flips."""
        return self

    def share_of_longest(self, x: torch.Tensor) -> float:  # noqa: ARG002 (all images have one size)
        """Return the work of an example of this batch, as a fraction of that of a longest example."""
        return 1.0

    def mean_share_of_longest(self) -> float:
        """Return the mean work of an example, as a fraction of that of a longest example."""
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
