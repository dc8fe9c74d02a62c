"""What a trial logs for MLflow, and under which names and steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.records import HistoryRow, Point


def epoch_metrics(row: HistoryRow) -> tuple[int, dict[str, float]]:
    """Return an epoch's step (its number, from 1) and metrics."""
    return row.epoch + 1, {
        "train/loss": row.loss,
        "train/distortion": row.distortion,
        "train/rate_nats": row.rate_nats,
        "train/elbo": row.elbo,
        "train/learning_rate": row.learning_rate,
        "train/beta_weight": row.beta_weight,
    }


def point_metrics(point: Point) -> tuple[int, dict[str, float]]:
    """Return an operating point's step and metrics.

    The step is 1000 · log₁₀ β, rounded: MLflow's step axis then is log β, and a β measured twice stays one value.
    """
    measured = {
        "beta": point.beta,
        "rate_nats": point.rate_nats,
        "distortion": point.distortion,
        "elbo": point.elbo,
        "active_units": point.active_units,
        "bits_per_dimension": point.bits_per_dimension,
        "psnr_db": point.psnr_db,
        "perplexity": point.perplexity,
        "mutual_information_nats": point.mutual_information_nats,
        "nll_nats": point.nll_nats,
        "mig": point.mig,
        "mig_histogram": point.mig_histogram,
        "dci_disentanglement": point.dci_disentanglement,
        "dci_completeness": point.dci_completeness,
        "dci_informativeness": point.dci_informativeness,
        "probe_accuracy": point.probe_accuracy,
        "fid": point.fid,
        "kid": point.kid,
        "inception_score": point.inception_score,
        "frechet_classifier": point.frechet_classifier,
    }
    step = round(1000 * math.log10(point.beta))
    return step, {f"{point.split}/{name}": value for name, value in measured.items() if value is not None}
