"""What is measured at an operating point besides rate and distortion: one measure a metric that a spec can ask for.

A measure sees every batch of the evaluated examples and gives columns of `evaluation.records.Point` at the end.
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
    from models.vae import VAE, Evidence
    from workers.data.split import Split
    from workers.trial import Evaluation, Trial

    Columns = dict[str, Any]

MOST_CODES = 15_000
"""Examples that DCI and the probe look at, the first ones; two thirds of them to learn from."""
MOST_PAIRS = 10_000
"""Examples whose mutual information is estimated, the first ones: every one is compared with every other."""


@dataclass(frozen=True)
class Setting:
    """What is measured: the model at one β, given by the condition of its gates (None without), on this data.

    `noise` returns latent noise for a batch of examples from a generator.
    """

    trial: Trial
    model: VAE
    data: Split
    evaluation: Evaluation
    condition: Callable[[int], torch.Tensor | None]
    noise: Callable[[int, torch.Generator], list[torch.Tensor]]


class Measure(ABC):
    """One metric at one operating point."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def update(self, x: torch.Tensor, evidence: Evidence, generator: torch.Generator) -> None:  # noqa: B027 (some need only totals)
        """Look at a batch and what the model says about it; what is drawn anew comes from the generator."""

    @abstractmethod
    def columns(self, totals: RateDistortion) -> Columns:
        """Return columns of the point, given rate and distortion over all examples."""


class ActiveUnitsMeasure(Measure):
    """Active units, and the variances that they are counted from."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.units = ActiveUnits.empty()

    def update(self, x: torch.Tensor, evidence: Evidence, generator: torch.Generator) -> None:
        self.units = self.units.update(_means(evidence))

    def columns(self, totals: RateDistortion) -> Columns:
        delta = self.setting.evaluation.active_units_delta
        return {
            "active_units": self.units.active_units(delta),
            "active_units_delta": delta,
            "unit_variances": tuple(self.units.variances().tolist()),
        }


class PSNRMeasure(Measure):
    """Peak signal-to-noise ratio of the reconstructions."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ratio = PeakSignalToNoiseRatio.empty()

    def update(self, x: torch.Tensor, evidence: Evidence, generator: torch.Generator) -> None:
        if evidence.reconstruction is not None:
            self.ratio = self.ratio.update(x, evidence.reconstruction)

    def columns(self, totals: RateDistortion) -> Columns:
        return {"psnr_db": self.ratio.decibels}


class BitsPerDimensionMeasure(Measure):
    """The ELBO as bits a pixel."""

    def columns(self, totals: RateDistortion) -> Columns:
        dimensions = int(np.prod(self.setting.data.shape))
        return {"bits_per_dimension": bits_per_dimension(totals.distortion, totals.rate_nats, dimensions)}


class PerplexityMeasure(Measure):
    """The ELBO as a perplexity."""

    def columns(self, totals: RateDistortion) -> Columns:
        lengths = self.setting.data.lengths
        # A sentence's first token is given, not predicted.
        words = 0 if lengths is None else int((lengths - 1).sum())
        return {"perplexity": perplexity(totals.elbo, totals.examples, words)}


class ImportanceWeightedMeasure(Measure):
    """The importance-weighted bound on the negative log-likelihood (Burda et al. 2016)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.batches: list[ImportanceWeights] = []

    def update(self, x: torch.Tensor, evidence: Evidence, generator: torch.Generator) -> None:
        weights = ImportanceWeights.empty().update(_log_weights(evidence))
        condition = self.setting.condition(len(x))
        for _ in range(self.setting.evaluation.importance_samples - 1):
            drawn = self.setting.model(x, condition, self.setting.noise(len(x), generator))
            weights = weights.update(_log_weights(drawn))
        self.batches.append(weights)

    def columns(self, totals: RateDistortion) -> Columns:
        bound = importance_weighted_nll(self.batches)
        return {"nll_nats": bound.nats, "nll_samples": bound.samples}


class CodesMeasure(Measure, ABC):
    """Keeps the posteriors, (N, K) each, for metrics that look at all of them together."""

    most = 0
    """Examples that are kept, the first ones; 0 keeps all."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._kept: list[tuple[torch.Tensor, ...]] = []

    def update(self, x: torch.Tensor, evidence: Evidence, generator: torch.Generator) -> None:
        if not self.most or sum(len(batch[0]) for batch in self._kept) < self.most:
            kinds = ("mean", "log_variance", "sample")
            self._kept.append(tuple(_flat(evidence, kind).cpu() for kind in kinds))

    def codes(self) -> tuple[NDArray[np.float64], ...]:
        """Return means, log variances and samples."""
        whole = (torch.cat(parts)[: self.most or None] for parts in zip(*self._kept, strict=True))
        return tuple(part.double().numpy() for part in whole)

    def factors(self, count: int) -> NDArray[np.int64]:
        """Return the factors (count, F) of the first examples, and of those only the ones that vary."""
        data = self.setting.data
        if not isinstance(data, Images) or data.factors is None:
            raise ValueError(f"{self.setting.trial.dataset.name} has no known factors")
        factors = data.factors[:count].numpy()
        return factors[:, factors.min(0) < factors.max(0)]


class MutualInformationMeasure(CodesMeasure):
    """I(x; z) by the aggregate posterior, and the logarithm of the examples, which is the most it can be."""

    most = MOST_PAIRS

    def columns(self, totals: RateDistortion) -> Columns:
        found = mutual_information(*self.codes())
        return {"mutual_information_nats": found.nats, "mutual_information_cap_nats": found.cap_nats}


class MIGMeasure(CodesMeasure):
    """The mutual information gap of Chen et al. (2018), whose first factor, the shape, does not count."""

    def columns(self, totals: RateDistortion) -> Columns:
        means, log_variances, _ = self.codes()
        found = mig(means, log_variances, self.factors(len(means)), excluded=(0,))
        return {"mig": found.gap, "mig_estimator": found.estimator, "mig_examples": found.examples}


class MIGHistogramMeasure(CodesMeasure):
    """The mutual information gap of binned means (Locatello et al. 2019), over all factors."""

    most = 10_000

    def columns(self, totals: RateDistortion) -> Columns:
        means, _, _ = self.codes()
        found = mig_histogram(means, self.factors(len(means)))
        return {"mig_histogram": found.gap, "mig_histogram_examples": found.examples}


class DCIMeasure(CodesMeasure):
    """Disentanglement, completeness and informativeness (Eastwood and Williams 2018)."""

    most = MOST_CODES

    def columns(self, totals: RateDistortion) -> Columns:
        means, _, _ = self.codes()
        factors, cut = self.factors(len(means)), 2 * len(means) // 3
        found = dci(means[:cut], factors[:cut], means[cut:], factors[cut:], seed=self.setting.trial.seed)
        return {
            "dci_disentanglement": found.disentanglement,
            "dci_completeness": found.completeness,
            "dci_informativeness": found.informativeness,
            "dci_estimator": found.estimator,
        }


class LinearProbeMeasure(CodesMeasure):
    """How well a linear classifier tells the labels from the posterior means."""

    most = MOST_CODES

    def columns(self, totals: RateDistortion) -> Columns:
        data = self.setting.data
        if not isinstance(data, Images) or data.labels is None:
            raise ValueError(f"{self.setting.trial.dataset.name} has no labels")
        means, _, _ = self.codes()
        labels, cut = data.labels[: len(means)].numpy(), 2 * len(means) // 3
        found = linear_probe(means[:cut], labels[:cut], means[cut:], labels[cut:])
        return {"probe_accuracy": found.accuracy, "probe_chance": found.chance, "probe_estimator": found.estimator}


MEASURES: dict[str, type[Measure]] = {
    "active_units": ActiveUnitsMeasure,
    "bits_per_dimension": BitsPerDimensionMeasure,
    "dci": DCIMeasure,
    "importance_weighted_nll": ImportanceWeightedMeasure,
    "linear_probe": LinearProbeMeasure,
    "mig": MIGMeasure,
    "mig_histogram": MIGHistogramMeasure,
    "mutual_information": MutualInformationMeasure,
    "perplexity": PerplexityMeasure,
    "psnr": PSNRMeasure,
}
"""Every metric by the name that a spec has for it; `workers.trial.METRICS` lists the names for planning."""


def _flat(evidence: Evidence, kind: str) -> torch.Tensor:
    return torch.cat([getattr(posterior, kind).flatten(1) for posterior in evidence.posteriors], 1)


def _means(evidence: Evidence) -> torch.Tensor:
    return _flat(evidence, "mean")


def _log_weights(evidence: Evidence) -> torch.Tensor:
    """Return log p(x|z) + log p(z) - log q(z|x) at the draw, (1, B), in double precision, where p(z) = N(0, I)."""
    log_weights = -evidence.distortion.double()
    for posterior in evidence.posteriors:
        z, log_variance = posterior.sample.double().flatten(1), posterior.log_variance.double().flatten(1)
        from_mean = (z - posterior.mean.double().flatten(1)).square() / log_variance.exp()
        log_weights = log_weights + 0.5 * (from_mean + log_variance - z.square()).sum(1)
    return log_weights.unsqueeze(0)
