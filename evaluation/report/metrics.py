"""The metrics of an operating point that tables and charts show: their names, which way is better, what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from evaluation.report.wording import listed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point


@dataclass(frozen=True)
class Metric:
    """A column of the points. `here` are columns that say what it can be compared at, and what to call them."""

    column: str
    label: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""
    digits: int = 3
    here: tuple[tuple[str, str], ...] = ()

    @property
    def direction(self) -> str:
        """Which way is better, as a phrase; empty where neither is."""
        return f"{self.better} is better" if self.better else ""

    def of(self, point: Point) -> float | None:
        """Return the metric of a point, None where it was not measured."""
        value: float | None = getattr(point, self.column)
        return value

    def definition(self, points: Sequence[Point]) -> str:
        """Return what the metric means, and what it was measured with on these points."""
        sentence = f"{self.meaning} {self.direction.capitalize()}." if self.better else self.meaning
        conditions = [
            f"{name} {listed([_text(value) for value in sorted(values)])}"
            for column, name in self.here
            if (values := _values(points, column))
        ]
        return f"{sentence} Here: {'; '.join(conditions)}." if conditions else sentence


def _generated(features: str) -> tuple[tuple[str, str], ...]:
    """Return the columns of what images that a model generates were compared with, and how."""
    return (
        (f"{features}_extractor", "features of"),
        (f"{features}_preparation", "images"),
        (f"{features}_examples", "generated images"),
        (f"{features}_reference_examples", "real images"),
        (f"{features}_reference_split", "of the split"),
    )


METRICS = (
    Metric(
        "active_units",
        "active units",
        "Latent units whose posterior mean varies over the data with a variance above δ (Burda et al. 2016). How many "
        "there are depends on the scale of the latents.",
        here=(("active_units_delta", "δ"),),
    ),
    Metric(
        "bits_per_dimension",
        "bits per dimension",
        "The negative ELBO in bits, over the number of values in an example (pixels × channels).",
        "lower",
        4,
    ),
    Metric(
        "psnr_db",
        "PSNR, dB",
        "Peak signal-to-noise ratio of the reconstructions: −10 log₁₀ of the mean squared error of pixels in [0, 1].",
        "higher",
        4,
    ),
    Metric("perplexity", "perplexity", "exp of the negative ELBO per predicted word (He et al. 2019).", "lower", 4),
    Metric(
        "nll_nats",
        "NLL, nats",
        "The importance-weighted bound on −log p(x) (Burda et al. 2016): fewer draws make it larger.",
        "lower",
        4,
        (("nll_samples", "draws"),),
    ),
    Metric(
        "fid",
        "FID",
        "Fréchet distance of the Inception features of generated images from those of real ones (Heusel et al. 2017). "
        "It depends on how many images there are.",
        "lower",
        here=_generated("inception"),
    ),
    Metric(
        "kid",
        "KID",
        "Squared maximum mean discrepancy of the same features (Bińkowski et al. 2018). It is unbiased, so it can be "
        "below 0.",
        "lower",
        here=_generated("inception"),
    ),
    Metric(
        "inception_score",
        "Inception Score",
        "exp of the mean divergence of Inception’s predicted classes of one generated image from those of all "
        "(Salimans et al. 2016).",
        "higher",
        here=_generated("inception"),
    ),
    Metric(
        "frechet_classifier",
        "Fréchet distance, classifier",
        "As FID, of the features of a small classifier of this dataset. It does not compare with FID.",
        "lower",
        here=_generated("classifier"),
    ),
    Metric(
        "kernel_classifier",
        "kernel distance, classifier",
        "As KID, of the features of a small classifier of this dataset. It does not compare with KID.",
        "lower",
        here=_generated("classifier"),
    ),
    Metric(
        "score_classifier",
        "class score, classifier",
        "As the Inception Score, of the classes of a small classifier of this dataset. It does not compare with that.",
        "higher",
        here=_generated("classifier"),
    ),
    Metric(
        "mutual_information_nats",
        "I(x; z), nats",
        "Mutual information of data and latents, estimated with the aggregate posterior of the examples. It is biased "
        "down and cannot exceed the logarithm of their number.",
        here=(("mutual_information_cap_nats", "at most"),),
    ),
    Metric(
        "mig",
        "MIG",
        "The mutual information gap (Chen et al. 2018): the mean over the factors, all but the shape, of the "
        "information that the best latent unit has of a factor beyond the second best, over the factor’s entropy.",
        "higher",
        here=(("mig_estimator", "estimator"), ("mig_examples", "examples")),
    ),
    Metric(
        "mig_histogram",
        "MIG, histogram",
        "The mutual information gap of posterior means in 20 bins, over all factors (Locatello et al. 2019). It does "
        "not compare with MIG.",
        "higher",
        here=(("mig_histogram_examples", "examples"),),
    ),
    Metric(
        "dci_disentanglement",
        "disentanglement",
        "DCI (Eastwood and Williams 2018): how far each latent unit serves to predict one factor alone.",
        "higher",
        here=(("dci_estimator", "estimator"),),
    ),
    Metric(
        "dci_completeness",
        "completeness",
        "DCI: how far each factor is predicted from one latent unit alone.",
        "higher",
        here=(("dci_estimator", "estimator"),),
    ),
    Metric(
        "dci_informativeness",
        "informativeness",
        "DCI: how well the factors are predicted from the latents, on examples that were not learned from.",
        "higher",
        here=(("dci_estimator", "estimator"),),
    ),
    Metric(
        "probe_accuracy",
        "probe accuracy",
        "How often a linear classifier tells the label from the posterior means, on examples it has not learned from.",
        "higher",
        here=(("probe_estimator", "estimator"), ("probe_chance", "by chance")),
    ),
)
"""In the order in which a report shows them. A metric of this list needs no other line to be shown."""


def measured_metrics(points: Sequence[Point]) -> tuple[Metric, ...]:
    """Return the metrics that some point has."""
    return tuple(metric for metric in METRICS if _values(points, metric.column))


def _values(points: Sequence[Point], column: str) -> set[Any]:
    """Return the different values of a column; of 200,000 points too this takes no time to speak of."""
    return set(map(attrgetter(column), points)) - {None}


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else significant(value, 3)
