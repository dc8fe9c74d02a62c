"""The computation of each metric at an operating point, by its name in `evaluation.metrics.catalogue`.

A metric is updated with every batch of the evaluated examples and returns its columns at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evaluation.metrics.active_units import ActiveUnits
from evaluation.metrics.bits_per_dimension import bits_per_dimension
from evaluation.metrics.dci import dci
from evaluation.metrics.importance_weighted import ImportanceWeights, importance_weighted_nll
from evaluation.metrics.linear_probe import linear_probe
from evaluation.metrics.mig import mig, mig_histogram
from evaluation.metrics.mutual_information import mutual_information
from evaluation.metrics.perplexity import perplexity
from evaluation.metrics.psnr import PeakSignalToNoiseRatio
from workers.data.resident import Images

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from evaluation.metrics.rate_distortion import RateDistortion
    from models.vae import VAE, ModelOutput
    from workers.data.split import Split
    from workers.trial import Evaluation, Trial

    Columns = dict[str, Any]

MOST_CODES = 15_000
"""Number of first examples for DCI and the probe, which learn from two thirds of them."""
MOST_PAIRS = 10_000
"""Number of first examples for the mutual information, which compares each with every other."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A model at one operating point, and the data that it is evaluated on.

    `condition` returns the gates' input for a number of examples (None without gates). `noise` draws latent noise for
    a number of examples from a generator.
    """

    trial: Trial
    model: VAE
    data: Split
    evaluation: Evaluation
    condition: Callable[[int], torch.Tensor | None]
    noise: Callable[[int, torch.Generator], list[torch.Tensor]]


class PointMetric(ABC):
    """One metric at one operating point."""

    random_stream = ""
    """Seeds the metric's random numbers instead of its name, so that renaming it keeps its values; empty: its name."""

    def __init__(self, evaluated: EvaluatedModel) -> None:
        self.evaluated = evaluated

    def update(self, x: torch.Tensor, output: ModelOutput, generator: torch.Generator) -> None:  # noqa: B027 (some need only totals)
        """Add a batch and the model's output for it; the generator draws further random numbers."""

    @abstractmethod
    def columns(self, totals: RateDistortion) -> Columns:
        """Return the metric's columns, given rate and distortion over all examples."""


class ActiveUnitsMetric(PointMetric):
    """Active units, and the variances of the posterior means that determine them."""

    def __init__(self, evaluated: EvaluatedModel) -> None:
        super().__init__(evaluated)
        self.units = ActiveUnits.empty()

    def update(self, x: torch.Tensor, output: ModelOutput, generator: torch.Generator) -> None:
        self.units = self.units.update(_flat(output, "mean"))

    def columns(self, totals: RateDistortion) -> Columns:
        delta = self.evaluated.evaluation.active_units_delta
        return {
            "active_units": self.units.active_units(delta),
            "active_units_delta": delta,
            "unit_variances": tuple(self.units.variances().tolist()),
        }


class PSNRMetric(PointMetric):
    """Peak signal-to-noise ratio of the reconstructions."""

    def __init__(self, evaluated: EvaluatedModel) -> None:
        super().__init__(evaluated)
        self.ratio = PeakSignalToNoiseRatio.empty()

    def update(self, x: torch.Tensor, output: ModelOutput, generator: torch.Generator) -> None:
        if output.reconstruction is not None:
            self.ratio = self.ratio.update(x, output.reconstruction)

    def columns(self, totals: RateDistortion) -> Columns:
        return {"psnr_db": self.ratio.decibels}


class BitsPerDimensionMetric(PointMetric):
    """The ELBO in bits per pixel."""

    def columns(self, totals: RateDistortion) -> Columns:
        dimensions = int(np.prod(self.evaluated.data.shape))
        return {"bits_per_dimension": bits_per_dimension(totals.distortion, totals.rate_nats, dimensions)}


class PerplexityMetric(PointMetric):
    """The ELBO as a perplexity."""

    def columns(self, totals: RateDistortion) -> Columns:
        lengths = self.evaluated.data.lengths
        # A sentence's first token is given, not predicted.
        words = 0 if lengths is None else int((lengths - 1).sum())
        return {"perplexity": perplexity(totals.elbo, totals.examples, words)}


class ImportanceWeightedMetric(PointMetric):
    """The importance-weighted bound on the negative log-likelihood (Burda et al. 2016)."""

    random_stream = "ImportanceWeightedMeasure"

    def __init__(self, evaluated: EvaluatedModel) -> None:
        super().__init__(evaluated)
        self.batches: list[ImportanceWeights] = []

    def update(self, x: torch.Tensor, output: ModelOutput, generator: torch.Generator) -> None:
        weights = ImportanceWeights.empty().update(_log_weights(output))
        condition = self.evaluated.condition(len(x))
        for _ in range(self.evaluated.evaluation.importance_samples - 1):
            drawn = self.evaluated.model(x, condition, self.evaluated.noise(len(x), generator))
            weights = weights.update(_log_weights(drawn))
        self.batches.append(weights)

    def columns(self, totals: RateDistortion) -> Columns:
        bound = importance_weighted_nll(self.batches)
        return {"nll_nats": bound.nats, "nll_samples": bound.samples}


class CodesMetric(PointMetric, ABC):
    """Keeps the posteriors, (N, K) each, for metrics of all examples together."""

    most = 0
    """Number of first examples to keep; 0: all."""

    def __init__(self, evaluated: EvaluatedModel) -> None:
        super().__init__(evaluated)
        self._kept: list[tuple[torch.Tensor, ...]] = []

    def update(self, x: torch.Tensor, output: ModelOutput, generator: torch.Generator) -> None:
        if not self.most or sum(len(batch[0]) for batch in self._kept) < self.most:
            kinds = ("mean", "log_variance", "sample")
            self._kept.append(tuple(_flat(output, kind).cpu() for kind in kinds))

    def codes(self) -> tuple[NDArray[np.float64], ...]:
        """Return means, log variances and samples, (N, K) each."""
        whole = (torch.cat(parts)[: self.most or None] for parts in zip(*self._kept, strict=True))
        return tuple(part.double().numpy() for part in whole)

    def factors(self, count: int) -> NDArray[np.int64]:
        """Return the varying factors (count, F) of the first examples. Raises ValueError where they are not known."""
        data = self.evaluated.data
        if not isinstance(data, Images) or data.factors is None:
            raise ValueError(f"{self.evaluated.trial.dataset.name} has no known factors")
        factors = data.factors[:count].numpy()
        return factors[:, factors.min(0) < factors.max(0)]


class MutualInformationMetric(CodesMetric):
    """I(x; z) by the aggregate posterior, and its largest possible value, the logarithm of the number of examples."""

    most = MOST_PAIRS

    def columns(self, totals: RateDistortion) -> Columns:
        found = mutual_information(*self.codes())
        return {"mutual_information_nats": found.nats, "mutual_information_cap_nats": found.cap_nats}


class MIGMetric(CodesMetric):
    """The mutual information gap of Chen et al. (2018), without the first factor, the shape."""

    def columns(self, totals: RateDistortion) -> Columns:
        means, log_variances, _ = self.codes()
        found = mig(means, log_variances, self.factors(len(means)), excluded=(0,))
        return {"mig": found.gap, "mig_estimator": found.estimator, "mig_examples": found.examples}


class MIGHistogramMetric(CodesMetric):
    """The mutual information gap of binned means (Locatello et al. 2019), over all factors."""

    most = 10_000

    def columns(self, totals: RateDistortion) -> Columns:
        means, _, _ = self.codes()
        found = mig_histogram(means, self.factors(len(means)))
        return {"mig_histogram": found.gap, "mig_histogram_examples": found.examples}


class DCIMetric(CodesMetric):
    """Disentanglement, completeness and informativeness (Eastwood and Williams 2018)."""

    most = MOST_CODES

    def columns(self, totals: RateDistortion) -> Columns:
        means, _, _ = self.codes()
        factors, cut = self.factors(len(means)), 2 * len(means) // 3
        found = dci(means[:cut], factors[:cut], means[cut:], factors[cut:], seed=self.evaluated.trial.seed)
        return {
            "dci_disentanglement": found.disentanglement,
            "dci_completeness": found.completeness,
            "dci_informativeness": found.informativeness,
            "dci_estimator": found.estimator,
        }


class LinearProbeMetric(CodesMetric):
    """The accuracy of a linear classifier of the labels on the posterior means."""

    most = MOST_CODES

    def columns(self, totals: RateDistortion) -> Columns:
        data = self.evaluated.data
        if not isinstance(data, Images) or data.labels is None:
            raise ValueError(f"{self.evaluated.trial.dataset.name} has no labels")
        means, _, _ = self.codes()
        labels, cut = data.labels[: len(means)].numpy(), 2 * len(means) // 3
        found = linear_probe(means[:cut], labels[:cut], means[cut:], labels[cut:])
        return {"probe_accuracy": found.accuracy, "probe_chance": found.chance, "probe_estimator": found.estimator}


POINT_METRICS: dict[str, type[PointMetric]] = {
    "active_units": ActiveUnitsMetric,
    "bits_per_dimension": BitsPerDimensionMetric,
    "dci": DCIMetric,
    "importance_weighted_nll": ImportanceWeightedMetric,
    "linear_probe": LinearProbeMetric,
    "mig": MIGMetric,
    "mig_histogram": MIGHistogramMetric,
    "mutual_information": MutualInformationMetric,
    "perplexity": PerplexityMetric,
    "psnr": PSNRMetric,
}
"""The metrics of the catalogue, except those of generated images, which `generation_metrics` computes."""


def _flat(output: ModelOutput, kind: str) -> torch.Tensor:
    return torch.cat([getattr(posterior, kind).flatten(1) for posterior in output.posteriors], 1)


def _log_weights(output: ModelOutput) -> torch.Tensor:
    """Return log p(x|z) + log p(z) - log q(z|x) at the draw, (1, B), in double precision, where p(z) = N(0, I)."""
    log_weights = -output.distortion.double()
    for posterior in output.posteriors:
        z, log_variance = posterior.sample.double().flatten(1), posterior.log_variance.double().flatten(1)
        from_mean = (z - posterior.mean.double().flatten(1)).square() / log_variance.exp()
        log_weights = log_weights + 0.5 * (from_mean + log_variance - z.square()).sum(1)
    return log_weights.unsqueeze(0)
