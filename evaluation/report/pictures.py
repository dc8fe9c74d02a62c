"""Pictures of models as PNG sprites that fit into a page: one row a β, one column an image."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evaluation.report.contents import TrialRecord


def picture_data(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return what the page shows over β, for every seed: test images, and the models by rising β."""
    shown = [trial for trial in trials if trial.pictures is not None and trial.pictures.betas]
    return [
        {"seed": seed, **_of_seed([trial for trial in shown if trial.seed == seed])}
        for seed in sorted({trial.seed for trial in shown})
    ]


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
