"""The contract of a dataset's configuration. Imports no torch: planning reads configurations only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.resident import ResidentData

BINARISATIONS = ("none", "threshold", "static", "dynamic")


class DataError(Exception):
    """A dataset is missing, damaged or not what it should be; the message says where and how to get it."""


@dataclass(frozen=True)
class Dataset:
    """The frozen preparation of one dataset; subclasses add their options and are listed in the registry.

    `train_limit` keeps only so many training examples (the first ones; 0 keeps all), for small runs.
    """

    binarise: str = "none"
    train_limit: int = 0

    name: ClassVar[str]
    shape: ClassVar[tuple[int, int, int]]
    train_examples: ClassVar[int]
    test_examples: ClassVar[int]
    has_labels: ClassVar[bool] = True
    summary: ClassVar[str]

    def __post_init__(self) -> None:
        if self.binarise not in BINARISATIONS:
            raise ValueError(f"binarise is {self.binarise!r}; choose one of {', '.join(BINARISATIONS)}")
        if self.train_limit < 0:
            raise ValueError(f"train_limit is {self.train_limit}; it must be 0 (all) or more")

    @property
    def is_binary(self) -> bool:
        """Whether every pixel the model sees is 0 or 1, so that a Bernoulli likelihood is a proper one."""
        return self.binarise != "none"

    @property
    def examples_per_epoch(self) -> int:
        """The number of training examples."""
        return min(self.train_limit or self.train_examples, self.train_examples)

    def check_present(self, root: Path) -> None:
        """Raise DataError where a file that `locate` names is missing: what, where, and how to get it."""
        missing = [path for path in self.locate(root) if not path.is_file()]
        if missing:
            raise DataError(
                f"dataset {self.name!r} is not there: looked for {missing[0]}. Get it with "
                f"`mrvae-orch data fetch {self.name} --data {root}`, or name the folder that holds it with --data "
                "or MRVAE_DATA"
            )

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where the files are missing or damaged."""
        raise NotImplementedError

    def locate(self, root: Path) -> list[Path]:
        """Return the files it is read from, whether they exist or not; none for data that a package carries."""
        raise NotImplementedError

    def fetch(self, root: Path) -> None:
        """Download what `locate` names. Raises DataError where there is nothing to download from."""
        raise NotImplementedError
