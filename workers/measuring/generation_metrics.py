"""The metrics of generated images that an evaluation names, each with the features of its network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.metrics.inception import WeightsError, load_inception
from workers.data.resident import Images
from workers.measuring.dataset_classifier import dataset_classifier
from workers.measuring.image_quality import image_quality, real_images_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from evaluation.operating_points import Betas
    from models.vae import VAE
    from workers.data.split import ResidentData, Split
    from workers.measuring.guard import Guard
    from workers.measuring.image_quality import Extractor, RealImages
    from workers.store.store import Folder
    from workers.trial import Evaluation, Trial

GENERATION_METRICS = {"fid": "inception", "frechet_classifier": "classifier"}
"""The network that gives the features of each metric; each metric adds a kernel distance and a score."""


@dataclass(frozen=True)
class GenerationMetrics:
    """Evaluates generated images by the network of each metric that an evaluation names.

    `cache` stores references and classifiers; `weights` is the file with Inception's weights.
    """

    trial: Trial
    data: ResidentData
    evaluation: Evaluation
    cache: Folder
    weights: Path | None
    device: torch.device
    check_stop: Callable[[], None]

    def references(self, guard: Guard) -> dict[str, RealImages]:
        """Return the real images' features for each metric. Raises WeightsError, or ValueError for text."""
        found = {}
        for metric, kind in GENERATION_METRICS.items():
            if metric in self.evaluation.metrics:
                with guard(metric, len(self.evaluation.betas)):
                    found[metric] = self._real_images(kind)
        return found

    def at(self, model: VAE, betas: Betas, references: Mapping[str, RealImages], guard: Guard) -> dict[str, Any]:
        """Return the columns at one operating point."""
        columns: dict[str, Any] = {}
        for metric, reference in references.items():
            with guard(metric):
                columns |= image_quality(
                    self.trial,
                    model,
                    betas,
                    reference,
                    examples=self.evaluation.quality_examples,
                    device=self.device,
                    check_stop=self.check_stop,
                ).columns()
        return columns

    def _real_images(self, kind: str) -> RealImages:
        return real_images_of(
            _images(self.data.split(self.evaluation.split)).first(self.evaluation.quality_examples),
            self.evaluation.split,
            self._extractor(kind),
            self.cache,
            device=self.device,
            check_stop=self.check_stop,
        )

    def _extractor(self, kind: str) -> Extractor:
        if kind == "inception":
            if self.weights is None:
                raise WeightsError("fid needs the weights of Inception, but no file of weights is named")
            return load_inception(self.weights, self.device)
        train, test = _images(self.data.train), _images(self.data.split("test"))
        name = self.trial.dataset.name
        return dataset_classifier(train, test, self.cache, name=name, device=self.device, check_stop=self.check_stop)


def _images(split: Split) -> Images:
    if not isinstance(split, Images):
        raise ValueError("metrics of generated images are not for text")  # noqa: TRY004 (a spec's mistake)
    return split
