"""Metrics of the images that a trained model generates at an operating point: FID, KID, Inception Score.

These names are for features of Inception; metrics by another network's features have its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from evaluation.metrics.frechet import FeatureMoments, FrechetDistance, frechet_distance
from evaluation.metrics.inception_score import ClassPredictions, InceptionScore
from evaluation.metrics.kernel_distance import KernelDistance, kernel_distance
from workers.measuring.feature_cache import content_digest, load_or_make
from workers.seeding import generator
from workers.training.checkpoint import Checkpoint
from workers.training.conditioning import condition_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from evaluation.operating_points import Betas
    from models.vae import VAE
    from workers.data.resident import Images
    from workers.store.store import Folder
    from workers.trial import Trial

SEED = 0
"""Seed of the binarisation of real images. It is fixed, so that every trial is compared with the same images."""
KERNEL_EXAMPLES = 10_000
"""Number of first images whose features are kept for the kernel distance."""
BLOCK = 1000
"""Feature vectors that are added to the moments at once; one batch of the network is too small to be fast."""
SPLITS = 10
"""Number of parts of the images whose Inception Scores are averaged, as in the papers."""
CPU = torch.device("cpu")


class Extractor(Protocol):
    """A feature extractor: `Inception` or `DatasetClassifier`."""

    @property
    def name(self) -> str:
        """The network and the beginning of the sha256 of its weights."""

    @property
    def kind(self) -> str:
        """The kind of network, which is in the columns' names; see `ImageQuality.columns`."""

    @property
    def batch_size(self) -> int:
        """The number of images of one call."""

    @property
    def test_accuracy(self) -> float | None:
        """The accuracy of a dataset's classifier on the test examples; None for other networks."""

    def preparation(self, channels: int) -> str:
        """Return how images with this number of channels are prepared for the network."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and logits (B, K) of images (B, C, H, W) in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Features:
    """The moments of the features of a set of images, and the features of the first images, float32."""

    moments: FeatureMoments
    first: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RealImages:
    """The features of the real images, the reference of the generated ones, and the network that gave them."""

    features: Features
    split: str
    shape: tuple[int, ...]
    extractor: Extractor


@dataclass(frozen=True)
class ImageQuality:
    """The metrics at one operating point and their conditions; only values of equal conditions can be compared.

    `preparation` describes how images were prepared for the network, such as grey repeated to three channels.
    """

    frechet: FrechetDistance
    kernel: KernelDistance
    score: InceptionScore
    extractor: str
    kind: str
    preparation: str
    reference_split: str
    test_accuracy: float | None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the point.

        The three values are fid, kid and inception_score with Inception and its published weights. With any other
        network, its kind is in the names: frechet_classifier, kernel_classifier and score_classifier.
        """
        names = ("fid", "kid", "inception_score")
        if self.kind != "inception":
            names = (f"frechet_{self.kind}", f"kernel_{self.kind}", f"score_{self.kind}")
        details = {
            "extractor": self.extractor,
            "preparation": self.preparation,
            "reference_split": self.reference_split,
            "examples": self.frechet.examples,
            "reference_examples": self.frechet.reference_examples,
            "features": self.frechet.features,
            "kernel_std": self.kernel.std,
            "score_std": self.score.std,
            **({} if self.test_accuracy is None else {"test_accuracy": self.test_accuracy}),
        }
        values = zip(names, (self.frechet.value, self.kernel.value, self.score.value), strict=True)
        return dict(values) | {f"{self.kind}_{name}": value for name, value in details.items()}


def real_images_of(
    images: Images,
    split: str,
    extractor: Extractor,
    cache: Folder,
    *,
    device: torch.device,
    check_stop: Callable[[], None],
) -> RealImages:
    """Return the features of real images, cached in `cache` by the content of the images and the network.

    `images` are the examples of the evaluated split, after its limit; `split` is its name. `check_stop` is called
    between batches and raises to stop. Raises ValueError below 2 images.
    """
    if len(images) < 2:  # noqa: PLR2004 (a covariance needs two)
        raise ValueError(f"{len(images)} images of the {split} split have no covariance; take 2 or more")
    # On the CPU, so that random binarisation is the same on every device.
    images = images.to(CPU)

    def make() -> Checkpoint:
        features, _ = _extract(extractor, _real(images, extractor, device), check_stop)
        arrays = {"mean": features.moments.mean, "scatter": features.moments.scatter, "first": features.first}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Checkpoint(tensors, {"examples": features.moments.examples})

    key = content_digest(images, {"extractor": extractor.name, "kept": KERNEL_EXAMPLES, "seed": SEED})
    kept = load_or_make(cache, f"reference-{key}", make, check_stop)
    arrays = {name: tensor.numpy() for name, tensor in kept.tensors.items()}
    moments = FeatureMoments(kept.progress["examples"], arrays["mean"], arrays["scatter"])
    return RealImages(Features(moments, arrays["first"]), split, images.shape, extractor)


def image_quality(
    trial: Trial,
    model: VAE,
    betas: Betas,
    reference: RealImages,
    *,
    examples: int,
    device: torch.device,
    check_stop: Callable[[], None],
) -> ImageQuality:
    """Compare images that the model generates at an operating point with the reference.

    Images are the means of p(x|z), z drawn from the prior; where data are binary, the grey of the means counts as a
    difference. The latents are the same for every β. `check_stop` is called between batches and raises to stop.

    Raises:
        ValueError: there are fewer than 10 examples, or an image is not finite.
    """
    if examples < SPLITS:
        raise ValueError(f"{examples} generated images are too few to measure; take {SPLITS} or more")
    extractor = reference.extractor
    images = generated(trial, model, betas, examples, extractor.batch_size, device)
    features, predictions = _extract(extractor, images, check_stop)
    return ImageQuality(
        frechet=frechet_distance(features.moments, reference.features.moments),
        kernel=kernel_distance(features.first, reference.features.first),
        score=predictions.score(),
        extractor=extractor.name,
        kind=extractor.kind,
        preparation=extractor.preparation(reference.shape[0]),
        reference_split=reference.split,
        test_accuracy=extractor.test_accuracy,
    )


def generated(
    trial: Trial, model: VAE, betas: Betas, examples: int, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield `examples` images in [0, 1] that the model generates at an operating point, in batches (B, C, H, W)."""
    model.eval()
    for number, start in enumerate(range(0, examples, batch_size)):
        count = min(batch_size, examples - start)
        random = generator(device, trial.seed, "generated images", number)
        noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
        with torch.no_grad():
            yield model.generate(noise, condition_at(trial.method, betas, count, device))


def _real(images: Images, extractor: Extractor, device: torch.device) -> Iterator[Tensor]:
    for number, indices in enumerate(torch.arange(len(images)).split(extractor.batch_size)):
        yield images.batch(indices, generator(CPU, SEED, "reference images", number)).to(device)


def _extract(
    extractor: Extractor, batches: Iterable[Tensor], check_stop: Callable[[], None]
) -> tuple[Features, ClassPredictions]:
    moments, predictions = FeatureMoments.empty(), ClassPredictions.empty(SPLITS)
    first: list[NDArray[np.float32]] = []
    for features, logits in _in_blocks(map(extractor, batches), check_stop):
        first.append(features[: max(KERNEL_EXAMPLES - moments.examples, 0)].numpy())
        moments, predictions = moments.update(features), predictions.update(logits)
    return Features(moments, np.concatenate(first)), predictions


def _in_blocks(
    batches: Iterable[tuple[Tensor, Tensor]], check_stop: Callable[[], None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features and logits on the CPU, in blocks of at least `BLOCK` rows, and the rest."""
    waiting: list[tuple[Tensor, Tensor]] = []
    for features, logits in batches:
        check_stop()
        waiting.append((features.float().cpu(), logits.float().cpu()))
        if sum(len(each) for each, _ in waiting) >= BLOCK:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    features, logits = zip(*batches, strict=True)
    return torch.cat(features), torch.cat(logits)
