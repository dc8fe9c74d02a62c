"""The weights of Inception: their file, the error where it is missing, and their download by `data fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.data.dataset import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "inception-weights"
"""Their name in `mrvae-orch data fetch`."""
FILE = "inception/weights-inception-2015-12-05-6726825d.pth"


def weights_below(data_root: Path) -> Path:
    """Return the file of the weights in a data folder."""
    return data_root / FILE


def check_weights(metrics: Iterable[str], data_root: Path) -> None:
    """Raise DataError where one of the metrics needs the weights and their file is missing."""
    path = weights_below(data_root)
    if "fid" in metrics and not path.is_file():
        raise DataError(
            f"fid needs the weights of Inception: looked for {path}. Get them with `mrvae-orch data fetch {NAME} "
            f"--data {data_root}`, or use the metric frechet_classifier, which needs no weights"
        )


def fetch_weights(data_root: Path) -> None:
    """Download the weights (96 MB). Raises DataError where that fails; no file is left then."""
    # Imported here because it loads torch, which planning must not.
    from evaluation.metrics.inception import WeightsError, fetch_inception

    try:
        fetch_inception(weights_below(data_root))
    except WeightsError as error:
        raise DataError(str(error)) from error
