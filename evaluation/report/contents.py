"""What a report is made from: the caller fills these, and the report asks nothing else of the world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evaluation.records import Cost, HistoryRow, Point

State = Literal["done", "failed", "running", "cancelled", "pending"]
Method = Literal["mr-vae", "beta-vae"]


@dataclass(frozen=True, eq=False)
class Traversals:
    """One test image of one trained model at K values of β, with one latent unit at a time moved over V values.

    `images` (K, U, V, C, H, W) are uint8 with C 1 or 3. `units` (K, U) are numbered from 0, those first whose posterior
    mean varies most, and `variances` (K, U) are of it. `values` are in standard deviations of the prior. All trials of
    a sweep show the same test image and the same values.

    Raises:
        ValueError: an array has another type or shape.
    """

    betas: tuple[float, ...]
    units: NDArray[np.integer[Any]]
    variances: NDArray[np.floating[Any]]
    values: tuple[float, ...]
    images: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape = self.images.shape
        if len(shape) != 6 or 0 in shape or shape[3] not in (1, 3):  # noqa: PLR2004 (the shapes stated above)
            raise ValueError(
                f"traversals have the shape {shape}; they must be (β, units, values, 1 or 3, height, width), none 0"
            )
        if self.images.dtype != np.uint8:
            raise ValueError(f"traversals are {self.images.dtype}; they must be uint8")
        if shape[0] != len(self.betas) or shape[2] != len(self.values):
            raise ValueError(
                f"traversals have the shape {shape}; there are {len(self.betas)} β, {len(self.values)} values"
            )
        for name in ("units", "variances"):
            found, expected = getattr(self, name).shape, shape[:2]
            if found != expected:
                raise ValueError(f"{name} of traversals have the shape {found}; they must have {expected}")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of one trained model at K values of β: n test images, their reconstructions, and n samples.

    All uint8, (n, C, H, W) and (K, n, C, H, W) with C 1 or 3. All trials of a sweep show the same test
    images, and samples come from the same latents, or they cannot be compared side by side. `traversals` is None
    where none were made: for several latent layers, and by earlier versions.

    Raises:
        ValueError: an array has another type or shape.
    """

    betas: tuple[float, ...]
    originals: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]
    samples: NDArray[np.uint8]
    traversals: Traversals | None = None

    def __post_init__(self) -> None:
        shape = self.originals.shape
        if len(shape) != 4 or shape[0] == 0 or shape[1] not in (1, 3):  # noqa: PLR2004 (the shapes stated above)
            raise ValueError(f"originals have the shape {shape}; they must be (n, 1 or 3, height, width), n 1 or more")
        for name in ("reconstructions", "samples"):
            found, expected = getattr(self, name).shape, (len(self.betas), *shape)
            if found != expected:
                raise ValueError(f"{name} have the shape {found}; they must have {expected}")
        for name in ("originals", "reconstructions", "samples"):
            if getattr(self, name).dtype != np.uint8:
                raise ValueError(f"{name} are {getattr(self, name).dtype}; they must be uint8")


@dataclass(frozen=True)
class Texts:
    """Sentences of one trained model at K values of β: n test sentences, what is made of them, and n samples.

    `greedy` and `sampled` (K, n) decode one draw from the posterior of each original, by the likeliest word at each
    step or by drawing it; `samples` (K, n) are decoded from the prior. All trials of a sweep show the same sentences.

    Raises:
        ValueError: the numbers of sentences differ.
    """

    betas: tuple[float, ...]
    originals: tuple[str, ...]
    greedy: tuple[tuple[str, ...], ...]
    sampled: tuple[tuple[str, ...], ...]
    samples: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for name in ("greedy", "sampled", "samples"):
            rows = getattr(self, name)
            if len(rows) != len(self.betas) or any(len(row) != len(self.originals) for row in rows):
                raise ValueError(f"{name} must have {len(self.originals)} sentences for each of {len(self.betas)} β")


@dataclass(frozen=True)
class Stage:
    """What a trial had reached after some epochs: its training so far, in device-seconds, and its points."""

    epochs: int
    device_seconds: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the sweep and everything known of it.

    `series` is the label of the curve it belongs to, such as "MR-VAE" or "β-VAE, constant". `betas` are the β
    it is trained at, or the two ends of its range. `message` says why it failed. `settings` and `provenance`
    (git commit, versions, device, host, threads) are flat and shown as they are.
    """

    trial_id: str
    series: str
    method: Method
    seed: int
    betas: tuple[float, ...]
    state: State
    message: str = ""
    parameters: int | None = None
    settings: Mapping[str, str] | None = None
    provenance: Mapping[str, str] | None = None
    attempts: int = 0
    points: tuple[Point, ...] = ()
    costs: tuple[Cost, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    along: tuple[Stage, ...] = ()
    pictures: Pictures | None = None
    texts: Texts | None = None
    tracking_url: str | None = None

    @property
    def done(self) -> bool:
        """Whether the trial is trained and evaluated."""
        return self.state == "done"


@dataclass(frozen=True)
class RateChoice:
    """How the learning rate of one curve was chosen: the mean loss of each rate that was tried.

    A loss is None where trials are still to finish, and infinite where one failed. `chosen` is None as long as the
    choice is not made. `trial_ids` are the trials that tried the rates, the winner's among them. `rule` says what was
    compared.
    """

    series: str
    losses: tuple[tuple[float, float | None], ...]
    chosen: float | None
    trial_ids: frozenset[str]
    rule: str


@dataclass(frozen=True)
class Scaled:
    """What makes a sweep another size than its spec in full: the scale's name, and each option that it changes.

    `changes` are texts: an option, its value in full, and its value here.
    """

    by: str
    changes: tuple[tuple[str, str, str], ...]

    @property
    def title(self) -> str:
        """What a reader must know before any figure."""
        return f"Scaled by “{self.by}”: these figures are no evidence for the spec in full"


@dataclass(frozen=True)
class SweepRecord:
    """A sweep and its trials. `created_at` is in seconds since 1970; `notes` stand with what is missing.

    `tried` are trials that only served to choose learning rates, by `choices`; `waiting` counts trials of the sweep
    that no learning rate is chosen for yet, and so are not among `trials`. `scaled` is None where the spec ran in full.
    `speeds` are those of calibrated device kinds, to convert times by where the trials ran on several.
    """

    name: str
    description: str
    spec_yaml: str
    dataset: str
    architecture: str
    created_at: float
    commit: str
    trials: tuple[TrialRecord, ...]
    tried: tuple[TrialRecord, ...] = ()
    choices: tuple[RateChoice, ...] = ()
    waiting: int = 0
    scaled: Scaled | None = None
    notes: tuple[str, ...] = ()
    speeds: Mapping[str, float] = field(default_factory=dict)
