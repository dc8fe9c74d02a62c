"""The input of a report: a sweep, its trials, and their pictures and texts. The report reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evaluation.operating_points import Betas
    from evaluation.records import Cost, HistoryRow, Point

State = Literal["done", "failed", "running", "cancelled", "pending"]
Method = Literal["mr-vae", "beta-vae"]


@dataclass(frozen=True, eq=False)
class Traversals:
    """One test image of one trained model at K operating points, with one latent unit at a time set to V values.

    `images` (K, U, V, C, H, W) are uint8 with C 1 or 3. `units` (K, U) count from 0 and are sorted by falling
    `variances` (K, U) of their posterior mean. `values` are in standard deviations of the prior. All trials of
    a sweep show the same test image and the same values.

    Raises:
        ValueError: an array has another type or shape.
    """

    betas: tuple[Betas, ...]
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
    """Images of one trained model at K operating points: n test images, their reconstructions, and n samples.

    All uint8, (n, C, H, W) and (K, n, C, H, W) with C 1 or 3. All trials of a sweep show the same test
    images, and samples of the same latents, so that they can be compared. `traversals` is None for several latent
    layers and for pictures of earlier versions.

    Raises:
        ValueError: an array has another type or shape.
    """

    betas: tuple[Betas, ...]
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
    """Sentences of one trained model at K operating points: n test sentences, reconstructions, and n samples.

    `greedy` and `sampled` (K, n) decode one draw from the posterior of each original, with the most likely word at each
    step or a sampled one; `samples` (K, n) are decoded from the prior. All trials of a sweep show the same sentences.

    Raises:
        ValueError: the numbers of sentences differ.
    """

    betas: tuple[Betas, ...]
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
    """An evaluation during training: epochs and device-seconds of training so far, and the points."""

    epochs: int
    device_seconds: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the sweep and its results.

    `series` is the label of the curve it belongs to, such as "MR-VAE" or "β-VAE, constant". `betas` is the operating
    point of its training, or the two ends of its range. `message` says why it failed. `failed_metrics` are the metrics
    that a finished trial lacks because they failed, each with a text that says so; "pictures", "traversals" and
    "sentences" are also such names. `settings` and `provenance` (git commit, versions, device, host, threads) are flat
    and shown as they are.
    """

    trial_id: str
    series: str
    method: Method
    seed: int
    betas: tuple[Betas, ...]
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
    failed_metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the trial is trained and evaluated."""
        return self.state == "done"


@dataclass(frozen=True)
class RateChoice:
    """The choice of the learning rate of one curve, with the mean loss of each candidate.

    A loss is None if trials are not finished, and infinite if one failed. `chosen` is None before the choice.
    `trial_ids` are the trials of all candidates, including the chosen one. `rule` says what was compared.
    """

    series: str
    losses: tuple[tuple[float, float | None], ...]
    chosen: float | None
    trial_ids: frozenset[str]
    rule: str


@dataclass(frozen=True)
class Scaled:
    """The scale at which a sweep ran instead of its spec in full: its name and the options that it changes.

    `changes` are texts: an option, its value in full, and its value here.
    """

    by: str
    changes: tuple[tuple[str, str, str], ...]

    @property
    def title(self) -> str:
        """The warning at the top of the report."""
        return f"Scaled by “{self.by}”: these figures are no evidence for the spec in full"


@dataclass(frozen=True)
class SweepRecord:
    """A sweep and its trials. `created_at` is in seconds since 1970; `notes` are shown with the missing results.

    `tried` are trials that only served to choose learning rates, by `choices`; `waiting` counts trials without a chosen
    learning rate, which are not among `trials`. `scaled` is None if the spec ran in full. `speeds` are those of
    calibrated device kinds, to convert times if the trials ran on several.
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
