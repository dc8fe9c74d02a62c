"""The weights of Inception: where they lie, and what to do where they do not. They are never downloaded unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from workers.trial import Evaluation

NAME = "inception-weights"
"""What `mrvae-orch data fetch` calls them."""
FILE = "inception/weights-inception-2015-12-05-6726825d.pth"


def weights_below(data_root: Path) -> Path:
    """Return the file of the weights below a data folder."""
    return data_root / FILE


def check_weights(evaluations: Iterable[Evaluation], data_root: Path) -> None:
    """Raise UserError where an evaluation needs the weights and they are not there."""
    path = weights_below(data_root)
    if any("fid" in evaluation.metrics for evaluation in evaluations) and not path.is_file():
        raise UserError(
            f"fid needs the weights of Inception: looked for {path}. Get them with `mrvae-orch data fetch {NAME} "
            f"--data {data_root}`, or ask for frechet_classifier, which needs none"
        )


def fetch_weights(data_root: Path) -> None:
    """Download the weights (96 MB). Raises UserError where that fails; nothing is left then."""
    # Imported here because it imports torch.
    from evaluation.metrics.inception import WeightsError, fetch_inception

    try:
        fetch_inception(weights_below(data_root))
    except WeightsError as error:
        raise UserError(str(error)) from error
