"""Pictures of models as PNG sprites that fit into a page: one row a β, one column an image."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evaluation.report.contents import Traversals, TrialRecord


MOST_TRAVERSED = 12 * 2**20
"""Characters of all seeds' traversals that a page has room for; the first seed's are shown however many they are."""


def picture_data(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return what the page shows over β, for every seed: test images, and the models by rising β.

    `traversals` are None for a seed that the page has no room for.
    """
    shown = [trial for trial in trials if trial.pictures is not None and trial.pictures.betas]
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
    # Pillow is wanted here alone; summaries and tables do without.
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
    """Stack what a series shows, one multi-rate model at many β or many models at one each."""
    pictures = [trial.pictures for trial in trials if trial.series == name and trial.pictures is not None]
    betas = np.array([beta for one in pictures for beta in one.betas])
    order = np.argsort(betas, kind="stable")
    return {
        "name": name,
        "betas": betas[order].tolist(),
        "reconstructions": sprite(np.concatenate([one.reconstructions for one in pictures])[order]),
        "samples": sprite(np.concatenate([one.samples for one in pictures])[order]),
    }


def _traversals_of_seed(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the series that have traversals, each with a step for each β, by rising β, as a sprite of its own."""
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
        for index, beta in enumerate(traversals.betas)
    ]
