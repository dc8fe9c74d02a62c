"""What a report is made from: the caller fills these, and the report asks nothing else of the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evaluation.records import Cost, HistoryRow, Point

State = Literal["done", "failed", "running", "pending"]
Method = Literal["mr-vae", "beta-vae"]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of one trained model at K values of β: n test images, their reconstructions, and n samples.

    All uint8, (n, C, H, W) and (K, n, C, H, W) with C 1 or 3. All trials of a sweep show the same test
    images, and samples come from the same latents, or they cannot be compared side by side.

    Raises:
        ValueError: an array has another type or shape.
    """

    betas: tuple[float, ...]
    originals: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]
    samples: NDArray[np.uint8]

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
    pictures: Pictures | None = None
    tracking_url: str | None = None

    @property
    def done(self) -> bool:
        """Whether the trial is trained and evaluated."""
        return self.state == "done"


@dataclass(frozen=True)
class SweepRecord:
    """A sweep and its trials. `created_at` is in seconds since 1970; `notes` stand with what is missing."""

    name: str
    description: str
    spec_yaml: str
    dataset: str
    architecture: str
    created_at: float
    commit: str
    trials: tuple[TrialRecord, ...]
    notes: tuple[str, ...] = ()
