"""The contract of a dataset's configuration. Imports no torch: planning reads configurations only."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from models.architecture import Shape
    from workers.data.split import ResidentData

BINARISATIONS = ("none", "threshold", "static", "dynamic")


class DataError(Exception):
    """A dataset is missing, damaged or not what it should be; the message says where and how to get it."""


@dataclass(frozen=True)
class Dataset:
    """The frozen preparation of one dataset; subclasses add their options and are listed in the registry.

    `train_limit` keeps only so many training examples (the first ones; 0 keeps all), for small runs.
    """

    train_limit: int = 0

    name: ClassVar[str]
    summary: ClassVar[str]
    likelihoods: ClassVar[tuple[str, ...]]
    """The likelihoods that an example can have."""

    if TYPE_CHECKING:
        # Constants of a named dataset, options of a general reader. At run time there is nothing here: a property
        # would pass for the default of the option of the same name.
        @property
        def shape(self) -> Shape:
            """The shape of one example; see `models.architecture.Shape`."""

        @property
        def train_examples(self) -> int:
            """The number of training examples before any limit."""

        @property
        def test_examples(self) -> int:
            """The number of test examples."""

    def __post_init__(self) -> None:
        if self.train_limit < 0:
            raise ValueError(f"train_limit is {self.train_limit}; it must be 0 (all) or more")

    @classmethod
    def is_reader(cls) -> bool:
        """Whether it reads the user's own files, so that there is none without options that name them."""
        return any(field.default is MISSING and field.default_factory is MISSING for field in fields(cls))

    @property
    def has_labels(self) -> bool:
        """Whether every example has a label."""
        return True

    @property
    def has_factors(self) -> bool:
        """Whether the factors of variation of every example are known."""
        return False

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        return ("train", "validation", "test")

    @property
    def is_binary(self) -> bool:
        """Whether every pixel the model sees is 0 or 1, so that a Bernoulli likelihood is a proper one."""
        return False

    @property
    def examples_per_epoch(self) -> int:
        """The number of training examples."""
        return min(self.train_limit or self.train_examples, self.train_examples)

    def check_present(self, root: Path) -> None:
        """Raise DataError where a file that `locate` names is missing: what, where, and how to get it."""
        missing = [path for path in self.locate(root) if not path.is_file()]
        if missing:
            raise DataError(
                f"dataset {self.name!r} is not there: looked for {missing[0]}. {self.how_to_get(root)}, or name the "
                "folder that holds it with --data or MRVAE_DATA"
            )

    def how_to_get(self, root: Path) -> str:
        """Return what to do about a missing file, as the beginning of a sentence."""
        return f"Get it with `mrvae-orch data fetch {self.name} --data {root}`"

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where the files are missing or damaged."""
        raise NotImplementedError

    def locate(self, root: Path) -> list[Path]:
        """Return the files it is read from, whether they exist or not; none for data that a package carries."""
        raise NotImplementedError

    def fetch(self, root: Path) -> None:
        """Download what `locate` names. Raises DataError where there is nothing to download from."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImageDataset(Dataset):
    """A dataset of images: `binarise` makes their pixels 0 or 1."""

    binarise: str = "none"

    likelihoods = ("bernoulli", "squared-error")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binarise not in BINARISATIONS:
            raise ValueError(f"binarise is {self.binarise!r}; choose one of {', '.join(BINARISATIONS)}")

    @property
    def is_binary(self) -> bool:
        """Whether every pixel the model sees is 0 or 1, so that a Bernoulli likelihood is a proper one."""
        return self.binarise != "none"
