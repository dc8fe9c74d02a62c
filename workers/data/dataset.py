"""The contract of a dataset's configuration. Imports no torch: planning reads configurations only."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from typing_extensions import Doc

from models.options import check_choices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.shapes import Shape
    from workers.data.split import ResidentData

Binarisation = Literal["none", "threshold", "static", "dynamic"]
Flip = Annotated[bool, Doc("Mirror each training image left to right with probability 1/2, drawn again at each use.")]


CACHE = ".prepared"
"""The folder in a data folder that has files which can be made again."""


class DataError(Exception):
    """A dataset is missing, damaged or not as declared; the message names the file and the next step."""


@dataclass(frozen=True)
class Dataset:
    """The options of one dataset and of its preparation; subclasses add theirs and are listed in the registry."""

    train_limit: Annotated[int, Doc("Number of training examples to use, the first ones, for small runs; 0: all.")] = 0

    name: ClassVar[str]
    summary: ClassVar[str]
    likelihoods: ClassVar[tuple[str, ...]]
    """The likelihoods that its examples allow."""

    if TYPE_CHECKING:
        # Constants of a named dataset, options of a general reader. Only type checkers see these: at run time a
        # property would be taken for the default of the option of the same name.
        @property
        def shape(self) -> Shape:
            """The shape of one example; see `models.shapes.Shape`."""

        @property
        def train_examples(self) -> int:
            """The number of training examples before any limit."""

        @property
        def test_examples(self) -> int:
            """The number of test examples."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.train_limit < 0:
            raise ValueError(f"train_limit is {self.train_limit}; it must be 0 (all) or more")

    @classmethod
    def is_reader(cls) -> bool:
        """Whether it reads the user's own files, which required options name."""
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
        """Whether every pixel that the model sees is 0 or 1, as a Bernoulli likelihood requires."""
        return False

    @property
    def examples_per_epoch(self) -> int:
        """The number of training examples."""
        return min(self.train_limit or self.train_examples, self.train_examples)

    def check_present(self, root: Path) -> None:
        """Raise DataError where a file of `locate` is missing; it names the file and how to get it."""
        missing = [path for path in self.locate(root) if not path.is_file()]
        if missing:
            raise DataError(
                f"dataset {self.name!r} is missing: looked for {missing[0]}. {self.how_to_get(root)}, or name the "
                "data folder that has it with --data or MRVAE_DATA"
            )

    def how_to_get(self, root: Path) -> str:
        """Return how to get a missing file, as the beginning of a sentence."""
        return f"Get it with `mrvae-orch data fetch {self.name} --data {root}`"

    def with_content(self, root: Path) -> Self:  # noqa: ARG002 (published files never change)
        """Return the configuration that names the content of the files, where this is not known from the options.

        Raises DataError where a file cannot be read.
        """
        return self

    @property
    def content_hashes(self) -> Mapping[str, str]:
        """The sha256 of the file of each part, if the configuration names it."""
        return {}

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where the files are missing or damaged."""
        raise NotImplementedError

    def locate(self, root: Path) -> list[Path]:
        """Return the files that it is read from, present or missing; none for data without a file."""
        raise NotImplementedError

    def fetch(self, root: Path) -> None:
        """Download the files of `locate`. Raises DataError where there is no download."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImageDataset(Dataset):
    """A dataset of images."""

    binarise: Annotated[
        Binarisation,
        Doc("How grey pixels become 0 or 1: not at all, by a threshold of 1/2, drawn once, or drawn at each use."),
    ] = "none"

    likelihoods = ("bernoulli", "squared-error")

    @property
    def is_binary(self) -> bool:
        """Whether every pixel that the model sees is 0 or 1, as a Bernoulli likelihood requires."""
        return self.binarise != "none"


@dataclass(frozen=True)
class BinaryImages(ImageDataset):
    """A dataset of images whose pixels are all 0 or 1; `binarise` must be none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binarise != "none":
            raise ValueError(
                f"binarise is {self.binarise!r}, but every pixel of {self.name} is 0 or 1 already; remove it"
            )

    @property
    def is_binary(self) -> bool:
        """Always true."""
        return True
