"""The β of an operating point: one weight on the rates of all latent layers, or one for each layer.

All code that writes, compares, sorts or plots β uses this module, so that the first layer's is never taken for all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Betas = tuple[float, ...]
"""A single β, or one for each latent layer in the order of the layers' rates."""

NOT_OVER_BETA = "their latent layers have different β values, and these charts have one β axis"


def common_beta(betas: Betas) -> float | None:
    """Return the β that all latent layers share; None where they differ."""
    return betas[0] if len(set(betas)) == 1 else None


def same_point(betas: Betas) -> Betas:
    """Return the key by which points of several seeds match; equal values for all layers are the same as one β."""
    common = common_beta(betas)
    return betas if common is None else (common,)


def curve_order(betas: Betas) -> tuple[float, Betas]:
    """Return a key that sorts the points of a curve: by the mean over the layers of log β."""
    return math.fsum(map(math.log, betas)) / len(betas), betas


def over_beta(operating_points: Sequence[Betas]) -> list[tuple[float, int]]:
    """Return (β, index) by rising β, for charts and sliders; points whose layers differ in β are left out."""
    common = ((common_beta(betas), index) for index, betas in enumerate(operating_points))
    return sorted((beta, index) for beta, index in common if beta is not None)


def nearest(wanted: Sequence[Betas], among: Sequence[Betas]) -> set[int]:
    """Return the indices of the points nearest to the wanted ones, by Euclidean distance of log β.

    Raises:
        ValueError: points have different numbers of layers, none of them one β for all.
    """
    layers = max(map(len, (*wanted, *among)), default=1)
    places = [_logarithms(betas, layers) for betas in among]
    return {
        min(range(len(places)), key=lambda index: math.dist(places[index], place))
        for place in (_logarithms(betas, layers) for betas in wanted)
    }


def weighted_rate(betas: Betas, rates_nats: Sequence[float], rate_nats: float) -> float:
    """Return Σ β · rate over the latent layers, from the rate of each and their sum."""
    common = common_beta(betas)
    if common is not None:
        return common * rate_nats
    return math.fsum(beta * rate for beta, rate in zip(betas, rates_nats, strict=True))


def by_layer(betas: Betas, layers: int) -> Betas:
    """Return the β of each of this many latent layers."""
    return betas * layers if len(betas) == 1 else betas


def beta_text(betas: Betas, digits: int = 3) -> str:
    """Return the β with up to this many significant digits: "0.1", or "(0.1, 1)" where layers differ."""
    written = [f"{beta:.{digits}g}" for beta in same_point(betas)]
    return written[0] if len(written) == 1 else f"({', '.join(written)})"


def beta_range_text(trained: Sequence[Betas], digits: int = 3) -> str:
    """Return the β of a trial's training as text: one value, or the two ends of a range."""
    return " to ".join(dict.fromkeys(beta_text(betas, digits) for betas in trained))


def to_json(betas: Betas) -> float | list[float]:
    """Return a single β as a number, and one for each layer as a list: the form of stored files and JSON output."""
    return betas[0] if len(betas) == 1 else list(betas)


def from_json(value: float | list[float]) -> Betas:
    """Return the β that `to_json` has written."""
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)


def _logarithms(betas: Betas, layers: int) -> tuple[float, ...]:
    return tuple(map(math.log, by_layer(betas, layers)))
