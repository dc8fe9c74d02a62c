"""How like the real images those are that a trained model generates at one β: FID, KID, Inception Score.

The names are kept for features of Inception; what another network's features say has that network's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from evaluation.metrics.frechet import FeatureMoments, FrechetDistance, frechet_distance
from evaluation.metrics.inception_score import ClassPredictions, InceptionScore
from evaluation.metrics.kernel_distance import KernelDistance, kernel_distance
from workers.checkpoint import Checkpoint
from workers.conditioning import condition_on
from workers.seeding import generator
from workers.store_cache import content_digest, load_or_make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from models.vae import VAE
    from workers.data.resident import Images
    from workers.store import Folder
    from workers.trial import Trial

SEED = 0
"""Of the binarisation of real images: fixed, so that every trial is compared with the same ones."""
KERNEL_EXAMPLES = 10_000
"""Images whose features are kept for the kernel distance, the first ones."""
BLOCK = 1000
"""Feature vectors that are added to the moments at once: a batch of the network's is too small to be fast."""
SPLITS = 10
"""Of the images whose Inception Scores are averaged, as the papers have it."""
CPU = torch.device("cpu")


class Extractor(Protocol):
    """A network that features are taken from: `Inception` or `DatasetClassifier`."""

    @property
    def name(self) -> str:
        """The network and the beginning of the sha256 of its weights."""

    @property
    def kind(self) -> str:
        """Which names of metrics its results have; see `ImageQuality.values`."""

    @property
    def batch_size(self) -> int:
        """How many images it is given at once."""

    @property
    def test_accuracy(self) -> float | None:
        """The share of test examples that it classifies rightly, where it is the dataset's own."""

    def preparation(self, channels: int) -> str:
        """Return what is done to images of so many channels before the network."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and logits (B, K) of images (B, C, H, W) in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Features:
    """What is kept of a set of images: moments of their features, and the features of the first ones, float32."""

    moments: FeatureMoments
    first: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reference:
    """The real images that generated ones are compared with, and the network to do it with."""

    features: Features
    split: str
    shape: tuple[int, ...]
    extractor: Extractor


@dataclass(frozen=True)
class ImageQuality:
    """The result at one operating point, and all that it can only be compared at: see the fields of each part.

    `preparation` says what was done to the images before the network, such as grey being repeated to three channels.
    """

    frechet: FrechetDistance
    kernel: KernelDistance
    score: InceptionScore
    extractor: str
    kind: str
    preparation: str
    reference_split: str
    test_accuracy: float | None

    def values(self) -> dict[str, float]:
        """Return the three numbers by the names that they may have.

        With Inception and its published weights: fid, kid and inception_score. With any other network, its kind is in
        the names: frechet_classifier, kernel_classifier and score_classifier.
        """
        names = ("fid", "kid", "inception_score")
        if self.kind != "inception":
            names = (f"frechet_{self.kind}", f"kernel_{self.kind}", f"score_{self.kind}")
        return dict(zip(names, (self.frechet.value, self.kernel.value, self.score.value), strict=True))


def reference_of(
    images: Images,
    split: str,
    extractor: Extractor,
    cache: Folder,
    *,
    device: torch.device,
    check_stop: Callable[[], None],
) -> Reference:
    """Return the features of real images, kept in `cache` by the content of the images and the network.

    `images` are those of a split to evaluate on, limited as wanted; `split` is its name. `check_stop` is called
    between batches; it raises to stop. Raises ValueError below 2 images.
    """
    if len(images) < 2:  # noqa: PLR2004 (a covariance needs two)
        raise ValueError(f"{len(images)} images of the {split} split have no covariance; take 2 or more")
    # On the CPU, so that what is binarised at random is the same on every device.
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
    return Reference(Features(moments, arrays["first"]), split, images.shape, extractor)


def image_quality(
    trial: Trial,
    model: VAE,
    beta: float,
    reference: Reference,
    *,
    examples: int,
    device: torch.device,
    check_stop: Callable[[], None],
) -> ImageQuality:
    """Return how like the reference so many images are that the model generates at one β.

    Images are the means of p(x|z), z drawn from the prior; where data are binary, the grey of the means counts as a
    difference. Every β sees the same latents. `check_stop` is called between batches; it raises to stop.

    Raises:
        ValueError: there are fewer than 10 examples, or an image is not finite.
    """
    if examples < SPLITS:
        raise ValueError(f"{examples} generated images are too few to measure; take {SPLITS} or more")
    extractor = reference.extractor
    images = generated(trial, model, beta, examples, extractor.batch_size, device)
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
    trial: Trial, model: VAE, beta: float, examples: int, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield images (B, C, H, W) in [0, 1] that the model generates at one β, in batches, `examples` in all."""
    model.eval()
    for number, start in enumerate(range(0, examples, batch_size)):
        count = min(batch_size, examples - start)
        random = generator(device, trial.seed, "generated images", number)
        noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
        with torch.no_grad():
            yield model.generate(noise, condition_on(trial.method, torch.full((count, 1), beta, device=device)))


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
    """Yield features and logits of `BLOCK` rows or a little more, and the rest, on the CPU."""
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
