"""Pictures of models as PNG sprites for a page, with one row for each β and one column for each image."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.operating_points import over_beta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evaluation.report.content.contents import Traversals, TrialRecord


MOST_TRAVERSED = 12 * 2**20
"""The limit on the characters of all traversals in a page; those of the first seed are always shown."""


def picture_data(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the pictures of each seed: test images, and reconstructions and samples of each series by rising β.

    `traversals` is None for seeds beyond the limit.
    """
    shown = [trial for trial in trials if trial.pictures is not None and over_beta(trial.pictures.betas)]
    data: list[dict[str, Any]] = []
    room = MOST_TRAVERSED
    for seed in sorted({trial.seed for trial in shown}):
        of_seed = [trial for trial in shown if trial.seed == seed]
        traversals = _traversals_of_seed(of_seed) if room > 0 else None
        size = sum(len(step["images"]) for series in traversals or () for step in series["steps"])
        fits = size <= room or room == MOST_TRAVERSED
        room = room - size if fits else 0
        data.append({"seed": seed, **_of_seed(of_seed), "traversals": traversals if fits else None})
    return data


def sprite(images: NDArray[np.uint8]) -> str:
    """Return images (rows, columns, C, H, W), uint8 with C 1 or 3, as one PNG in a data: URI."""
    # Only pictures need Pillow.
    from PIL import Image

    rows, columns, channels, height, width = images.shape
    pixels = images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _of_seed(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    first = trials[0].pictures
    if first is None:
        return {}
    count, _, height, width = first.originals.shape
    return {
        "count": count,
        "height": height,
        "width": width,
        "originals": sprite(first.originals[None]),
        "series": [_of_series(name, trials) for name in dict.fromkeys(trial.series for trial in trials)],
    }


def _of_series(name: str, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the sprites of a series: one multi-rate model at many β values, or several models at one each."""
    pictures = [trial.pictures for trial in trials if trial.series == name and trial.pictures is not None]
    shown = over_beta([betas for one in pictures for betas in one.betas])
    order = [index for _, index in shown]
    return {
        "name": name,
        "betas": [beta for beta, _ in shown],
        "reconstructions": sprite(np.concatenate([one.reconstructions for one in pictures])[order]),
        "samples": sprite(np.concatenate([one.samples for one in pictures])[order]),
    }


def _traversals_of_seed(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the series that have traversals, each with one sprite for each β, by rising β."""
    series: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        traversals = trial.pictures.traversals if trial.pictures is not None else None
        if traversals is not None:
            series.setdefault(trial.series, []).extend(_steps(traversals))
    return [{"name": name, "steps": sorted(steps, key=lambda step: step["beta"])} for name, steps in series.items()]


def _steps(traversals: Traversals) -> list[dict[str, Any]]:
    return [
        {
            "beta": beta,
            "units": traversals.units[index].tolist(),
            # JSON has no number for the variance of a diverged model.
            "variances": [value if math.isfinite(value) else None for value in traversals.variances[index].tolist()],
            "values": traversals.values,
            "images": sprite(traversals.images[index]),
        }
        for beta, index in over_beta(traversals.betas)
    ]
