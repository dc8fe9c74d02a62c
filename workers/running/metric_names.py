"""The names and steps under which a trial's numbers are logged for MLflow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evaluation.metrics.catalogue import CATALOGUE
from evaluation.operating_points import common_beta
from workers.trial import EvaluationOptions

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


def point_metrics(point: Point, evaluation: EvaluationOptions) -> tuple[int, dict[str, float]]:
    """Return an operating point's step and metrics. Different evaluations of a point have different names.

    The step is 1000 · log₁₀ β, rounded: MLflow's step axis then is log β. Latent layers with different β have no such
    step: it is 0, and the β of each layer are in the names. A name also has the number of examples, if it is limited,
    and the options that change the metric's value, if they are not the usual ones.
    """
    beta = common_beta(point.betas)
    measured = {
        "beta": beta,
        "rate_nats": point.rate_nats,
        "distortion": point.distortion,
        "elbo": point.elbo,
        **{_with_options(column, evaluation): point.metrics.get(column) for column in OPTIONS},
    }
    step = 0 if beta is None else round(1000 * math.log10(beta))
    # Metrics of training begin with "train/".
    split = "train_split" if point.split == "train" else point.split
    where = f"{split}_first_{evaluation.limit}" if evaluation.limit else split
    if beta is None:
        where = f"{where}/beta_{'_'.join(map(str, point.betas))}"
    return step, {f"{where}/{name}": value for name, value in measured.items() if value is not None}


OPTIONS = {quantity.column: metric.options for metric in CATALOGUE.values() for quantity in metric.quantities}
"""The options of an evaluation that change the values of each column."""
_USUAL = EvaluationOptions()


def _with_options(column: str, evaluation: EvaluationOptions) -> str:
    values = {option: getattr(evaluation, option) for option in OPTIONS[column]}
    return column + "".join(
        f"_{option}_{value}" for option, value in values.items() if value != getattr(_USUAL, option)
    )
