"""A small classifier of a dataset's images, for distances and scores without the weights of Inception."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.data.dataset import DataError
from workers.data.resident import Images
from workers.data.sampler import EpochSampler
from workers.measuring.feature_cache import content_digest, load_or_make
from workers.seeding import generator, seeded_initialisation
from workers.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.shapes import Shape
    from workers.store.store import Folder

SEED = 0
"""Seed of the classifier. It is fixed, so that every trial is evaluated with the same classifier."""
FEATURES = 128
SMALLEST_SIDE = 7
"""Images are halved until no side is longer."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Recipe:
    """The options of the classifier's training, part of its identity. Increase `version` when the network changes."""

    steps: int = 600
    batch_size: int = 128
    learning_rate: float = 2e-3
    examples: int = 20_000
    version: int = 1


class ClassifierNetwork(nn.Module):
    """Convolutions with batch norm that halve the image, a layer of features, and a linear layer of logits."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        out_channels = 16
        while not layers or max(height, width) > SMALLEST_SIDE:
            layers += [nn.Conv2d(channels, out_channels, 3, 2, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()]
            layers += [
                nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            ]
            height, width = -(-height // 2), -(-width // 2)
            channels, out_channels = out_channels, min(2 * out_channels, FEATURES)
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, FEATURES), nn.ReLU())
        self.logits = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 128) and logits (B, classes) of images (B, C, H, W) in [0, 1]."""
        features = self.features(x)
        return features, self.logits(features)


@dataclass(frozen=True, eq=False)
class DatasetClassifier:
    """The trained classifier, which maps images in [0, 1] to features and logits.

    `digest` is the beginning of the sha256 of its weights: only values of the same classifier can be compared.
    `test_accuracy` is None where the test examples have no labels.
    """

    network: ClassifierNetwork
    digest: str
    test_accuracy: float | None

    batch_size = 500
    kind = "classifier"

    @property
    def name(self) -> str:
        """The classifier's name in results."""
        return f"classifier-{self.digest}"

    def preparation(self, channels: int) -> str:  # noqa: ARG002 (it is trained on unchanged images)
        """Return "none": images are not changed before the network."""
        return "none"

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 128) and logits (B, classes), float32, of images (B, C, H, W) in [0, 1]."""
        with torch.no_grad():
            features, logits = self.network(images)
        return features, logits


def dataset_classifier(
    train: Images,
    test: Images,
    cache: Folder,
    *,
    name: str,
    device: torch.device,
    check_stop: Callable[[], None],
    recipe: Recipe = Recipe(),
) -> DatasetClassifier:
    """Return the classifier of a dataset on the device; it is trained once and cached in `cache`.

    It is trained on the CPU by one thread, so that it has the same weights on all machines of a kind. That takes
    seconds for images of 8×8, half a minute for 32×32, some minutes for 64×64. The key is the content of the training
    and test images, and the recipe. `check_stop` is called between steps and raises to stop.

    Raises:
        DataError: `name`, the dataset, has no labels, or only one class.
    """
    chosen, labels = _chosen(train, recipe.examples, name)
    tested = test.to(CPU).first(recipe.examples)
    settings = {"recipe": asdict(recipe), "test": content_digest(tested, {})}
    key = f"classifier-{content_digest(chosen, settings)}"
    kept = load_or_make(cache, key, lambda: _made(chosen, labels, tested, recipe, check_stop), check_stop)
    network = ClassifierNetwork(train.shape, kept.progress["classes"])
    network.load_state_dict(dict(kept.tensors))
    return DatasetClassifier(network.eval().to(device), _digest(network), kept.progress["test_accuracy"])


def _chosen(train: Images, examples: int, name: str) -> tuple[Images, Tensor]:
    """Return random images, `examples` at most, and their labels; the first ones may all be of one class."""
    if train.labels is None:
        raise DataError(
            f"dataset {name!r} has no labels, and a classifier needs them; name them in the dataset's options, or use "
            "the metric fid, which needs the weights of Inception instead"
        )
    rows = torch.randperm(len(train), generator=generator(CPU, SEED, "classifier examples"))[:examples]
    labels = train.labels[rows]
    if (labels == labels[0]).all():
        raise DataError(
            f"dataset {name!r}: {len(labels):,} training examples, drawn at random, all have the label "
            f"{int(labels[0])}, and a classifier needs two classes; use the metric fid, which needs the weights of "
            "Inception instead"
        )
    pixels = train.pixels[rows.to(train.pixels.device)].cpu()
    return Images(pixels, labels, train.dynamic, train.flip), labels


def _made(train: Images, labels: Tensor, test: Images, recipe: Recipe, check_stop: Callable[[], None]) -> Checkpoint:
    classes, targets = labels.unique(return_inverse=True)
    with _one_thread():
        network = _trained(train, targets, len(classes), recipe, check_stop)
        accuracy = _accuracy(network, test, classes)
    return Checkpoint(network.state_dict(), {"classes": len(classes), "test_accuracy": accuracy})


def _trained(
    images: Images, targets: Tensor, classes: int, recipe: Recipe, check_stop: Callable[[], None]
) -> ClassifierNetwork:
    with seeded_initialisation(SEED):
        network = ClassifierNetwork(images.shape, classes)
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    sampler = EpochSampler(len(images), recipe.batch_size, SEED)
    batches = chain.from_iterable(sampler.batches(epoch) for epoch in count())
    for step, indices in enumerate(islice(batches, recipe.steps)):
        _, logits = network(images.batch(indices, generator(CPU, SEED, "classifier step", step)))
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * (1 - step / recipe.steps)
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(logits, targets[indices]).backward()
        optimiser.step()
        check_stop()
    return network.eval()


def _accuracy(network: ClassifierNetwork, test: Images, classes: Tensor) -> float | None:
    if test.labels is None or len(test) == 0:
        return None
    right = 0
    for number, indices in enumerate(torch.arange(len(test)).split(DatasetClassifier.batch_size)):
        with torch.no_grad():
            _, logits = network(test.batch(indices, generator(CPU, SEED, "classifier test", number)))
        right += int((classes[logits.argmax(1)] == test.labels[indices]).sum())
    return right / len(test)


def _digest(network: ClassifierNetwork) -> str:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:8]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread inside the block, because the number of threads changes rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
