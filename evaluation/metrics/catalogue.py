"""Every metric that a spec can ask for: its columns, what it needs, and what its values mean.

The choices and checks of a spec, the Parquet schema, MLflow's names and the report follow from `CATALOGUE`. Planning
reads it, so nothing here imports torch or NumPy. `workers.measuring` computes each metric under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


class Need(Enum):
    """What a metric needs of the dataset or the objective, and how a user gets it."""

    IMAGES = "images"
    TEXT = "text"
    LABELS = "labels"
    FACTORS = "known factors of variation, as datasets 'sprites' and 'dsprites' have"
    GREY_OR_RGB = "grey or RGB images"
    BINARY_IMAGES = "binary images (dataset.binarise: threshold, static or dynamic)"
    BERNOULLI = "the Bernoulli likelihood (objective.likelihood: bernoulli)"
    LIKELIHOOD = (
        "a likelihood of its data (objective.likelihood: categorical, or bernoulli with dataset.binarise: threshold, "
        "static or dynamic)"
    )


@dataclass(frozen=True)
class Quantity:
    """A column with a value of the metric. It is logged to MLflow and shown in tables and charts.

    `type` is float, int, str or tuple[float, ...], here and in `Detail`.
    """

    column: str
    label: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""
    unit: str = ""
    digits: int = 3
    type: Any = float

    @property
    def heading(self) -> str:
        """The label with its unit, such as "PSNR, dB"."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def direction(self) -> str:
        """Which way is better, as a phrase; empty where neither is."""
        return f"{self.better} is better" if self.better else ""


@dataclass(frozen=True)
class Detail:
    """A column that says how a metric was computed.

    Values of a metric compare only where every detail with a `label` is the same; the report states those.
    """

    column: str
    type: Any
    label: str = ""


@dataclass(frozen=True)
class Metric:
    """The columns that a metric fills, what it needs, and the options of an evaluation that change its values."""

    quantities: tuple[Quantity, ...]
    details: tuple[Detail, ...]
    needs: tuple[Need, ...]
    options: tuple[str, ...]

    @property
    def columns(self) -> tuple[Quantity | Detail, ...]:
        """Every column that it fills."""
        return (*self.quantities, *self.details)


def _comparison_of_images(network: str) -> tuple[Detail, ...]:
    """Return how generated images were compared with real ones by the features of a network."""
    return (
        Detail(f"{network}_extractor", str, "features of"),
        Detail(f"{network}_preparation", str, "images"),
        Detail(f"{network}_examples", int, "generated images"),
        Detail(f"{network}_reference_examples", int, "real images"),
        Detail(f"{network}_reference_split", str, "of the split"),
        Detail(f"{network}_features", int),
        Detail(f"{network}_kernel_std", float),
        Detail(f"{network}_score_std", float),
    )


def _metric(
    *quantities: Quantity,
    details: tuple[Detail, ...] = (),
    needs: tuple[Need, ...] = (),
    options: tuple[str, ...] = (),
) -> Metric:
    return Metric(quantities, details, needs, options)


CATALOGUE: Mapping[str, Metric] = {
    "active_units": _metric(
        Quantity(
            "active_units",
            "active units",
            "Latent units whose posterior mean varies over the data with a variance above δ (Burda et al. 2016). "
            "How many there are depends on the scale of the latents.",
            type=int,
        ),
        details=(Detail("active_units_delta", float, "δ"), Detail("unit_variances", tuple[float, ...])),
        options=("active_units_delta",),
    ),
    "bits_per_dimension": _metric(
        Quantity(
            "bits_per_dimension",
            "bits per dimension",
            "The negative ELBO in bits, over the number of values in an example (pixels × channels).",
            "lower",
            digits=4,
        ),
        needs=(Need.BINARY_IMAGES, Need.BERNOULLI),
    ),
    "psnr": _metric(
        Quantity(
            "psnr_db",
            "PSNR",
            "Peak signal-to-noise ratio of the reconstructions: −10 log₁₀ of the mean squared error of pixels in "
            "[0, 1].",
            "higher",
            "dB",
            digits=4,
        ),
        needs=(Need.IMAGES,),
    ),
    "perplexity": _metric(
        Quantity(
            "perplexity",
            "perplexity",
            "exp of the negative ELBO per predicted word (He et al. 2019).",
            "lower",
            digits=4,
        ),
        needs=(Need.TEXT,),
    ),
    "importance_weighted_nll": _metric(
        Quantity(
            "nll_nats",
            "NLL",
            "The importance-weighted bound on −log p(x) (Burda et al. 2016): fewer draws make it larger.",
            "lower",
            "nats",
            digits=4,
        ),
        details=(Detail("nll_samples", int, "draws"),),
        needs=(Need.LIKELIHOOD,),
        options=("importance_samples",),
    ),
    "fid": _metric(
        Quantity(
            "fid",
            "FID",
            "Fréchet distance of the Inception features of generated images from those of real ones (Heusel et al. "
            "2017). It depends on how many images there are.",
            "lower",
        ),
        Quantity(
            "kid",
            "KID",
            "Squared maximum mean discrepancy of the same features (Bińkowski et al. 2018). It is unbiased, so it "
            "can be below 0.",
            "lower",
        ),
        Quantity(
            "inception_score",
            "Inception Score",
            "exp of the mean divergence of Inception’s predicted classes of one generated image from those of all "
            "(Salimans et al. 2016).",
            "higher",
        ),
        details=_comparison_of_images("inception"),
        needs=(Need.GREY_OR_RGB,),
        options=("quality_examples",),
    ),
    "frechet_classifier": _metric(
        Quantity(
            "frechet_classifier",
            "Fréchet distance, classifier",
            "As FID, of the features of a small classifier of this dataset. It does not compare with FID.",
            "lower",
        ),
        Quantity(
            "kernel_classifier",
            "kernel distance, classifier",
            "As KID, of the features of a small classifier of this dataset. It does not compare with KID.",
            "lower",
        ),
        Quantity(
            "score_classifier",
            "class score, classifier",
            "As the Inception Score, of the classes of a small classifier of this dataset. It does not compare "
            "with that.",
            "higher",
        ),
        details=(*_comparison_of_images("classifier"), Detail("classifier_test_accuracy", float)),
        needs=(Need.IMAGES, Need.LABELS),
        options=("quality_examples",),
    ),
    "mutual_information": _metric(
        Quantity(
            "mutual_information_nats",
            "I(x; z)",
            "Mutual information of data and latents, estimated with the aggregate posterior of the examples. It is "
            "biased down and cannot exceed the logarithm of their number.",
            unit="nats",
        ),
        details=(Detail("mutual_information_cap_nats", float, "at most"),),
    ),
    "mig": _metric(
        Quantity(
            "mig",
            "MIG",
            "The mutual information gap (Chen et al. 2018): the mean over the factors, all but the shape, of the "
            "information that the best latent unit has of a factor beyond the second best, over the factor’s "
            "entropy.",
            "higher",
        ),
        details=(Detail("mig_estimator", str, "estimator"), Detail("mig_examples", int, "examples")),
        needs=(Need.FACTORS,),
    ),
    "mig_histogram": _metric(
        Quantity(
            "mig_histogram",
            "MIG, histogram",
            "The mutual information gap of posterior means in 20 bins, over all factors (Locatello et al. 2019). "
            "It does not compare with MIG.",
            "higher",
        ),
        details=(Detail("mig_histogram_examples", int, "examples"),),
        needs=(Need.FACTORS,),
    ),
    "dci": _metric(
        Quantity(
            "dci_disentanglement",
            "disentanglement",
            "DCI (Eastwood and Williams 2018): how far each latent unit serves to predict one factor alone.",
            "higher",
        ),
        Quantity(
            "dci_completeness",
            "completeness",
            "DCI: how far each factor is predicted from one latent unit alone.",
            "higher",
        ),
        Quantity(
            "dci_informativeness",
            "informativeness",
            "DCI: how well the factors are predicted from the latents, on examples that were not learned from.",
            "higher",
        ),
        details=(Detail("dci_estimator", str, "estimator"),),
        needs=(Need.FACTORS,),
    ),
    "linear_probe": _metric(
        Quantity(
            "probe_accuracy",
            "probe accuracy",
            "How often a linear classifier tells the label from the posterior means, on examples it has not "
            "learned from.",
            "higher",
        ),
        details=(Detail("probe_estimator", str, "estimator"), Detail("probe_chance", float, "by chance")),
        needs=(Need.LABELS,),
    ),
}
"""Every metric by the name that specs have for it, in the order in which a report shows them."""

QUANTITIES = tuple(quantity for metric in CATALOGUE.values() for quantity in metric.quantities)

COLUMNS: Mapping[str, Any] = {each.column: each.type for metric in CATALOGUE.values() for each in metric.columns}
"""The type of each column that some metric fills."""
