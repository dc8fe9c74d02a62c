"""The columns of a point that say how like real images those are that a model generates, one network after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.metrics.inception import WeightsError, load_inception
from workers.data.resident import Images
from workers.dataset_classifier import dataset_classifier
from workers.image_quality import image_quality, reference_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from models.vae import VAE
    from workers.data.split import ResidentData, Split
    from workers.image_quality import Extractor, ImageQuality, Reference
    from workers.store import Folder
    from workers.trial import Evaluation, Trial

QUALITY_METRICS = {"fid": "inception", "frechet_classifier": "classifier"}
"""The network whose features each of these metrics is of; each brings a kernel distance and a score with it."""


@dataclass(frozen=True)
class QualityColumns:
    """Measures generated images by every network that an evaluation asks for.

    `cache` is where references and classifiers are kept, `weights` the file of Inception's.
    """

    trial: Trial
    data: ResidentData
    evaluation: Evaluation
    cache: Folder
    weights: Path | None
    device: torch.device
    check_stop: Callable[[], None]

    def references(self) -> list[Reference]:
        """Return the real images' features by each network. Raises WeightsError, or ValueError without images."""
        kinds = [kind for metric, kind in QUALITY_METRICS.items() if metric in self.evaluation.metrics]
        split = _images(self.data.split(self.evaluation.split)).first(self.evaluation.quality_examples)
        return [
            reference_of(
                split,
                self.evaluation.split,
                self._extractor(kind),
                self.cache,
                device=self.device,
                check_stop=self.check_stop,
            )
            for kind in kinds
        ]

    def at(self, model: VAE, beta: float, references: list[Reference]) -> dict[str, Any]:
        """Return the columns at one β."""
        columns: dict[str, Any] = {}
        for reference in references:
            quality = image_quality(
                self.trial,
                model,
                beta,
                reference,
                examples=self.evaluation.quality_examples,
                device=self.device,
                check_stop=self.check_stop,
            )
            columns |= quality.values() | _about(quality)
        return columns

    def _extractor(self, kind: str) -> Extractor:
        if kind == "inception":
            if self.weights is None:
                raise WeightsError("fid needs the weights of Inception, and no file of theirs is named")
            return load_inception(self.weights, self.device)
        train, test = _images(self.data.train), _images(self.data.split("test"))
        name = self.trial.dataset.name
        return dataset_classifier(train, test, self.cache, name=name, device=self.device, check_stop=self.check_stop)


def _images(split: Split) -> Images:
    if not isinstance(split, Images):
        raise ValueError("text has no images whose quality could be measured")  # noqa: TRY004 (a spec's mistake)
    return split


def _about(quality: ImageQuality) -> dict[str, Any]:
    about = {
        "extractor": quality.extractor,
        "preparation": quality.preparation,
        "reference_split": quality.reference_split,
        "examples": quality.frechet.examples,
        "reference_examples": quality.frechet.reference_examples,
        "features": quality.frechet.features,
        "kernel_std": quality.kernel.std,
        "score_std": quality.score.std,
    }
    if quality.kind == "classifier":
        about["test_accuracy"] = quality.test_accuracy
    return {f"{quality.kind}_{name}": value for name, value in about.items()}
