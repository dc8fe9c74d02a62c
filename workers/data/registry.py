"""All datasets by name, plug-ins included. A new one needs a file and a line here (docs/extending.md)."""

from __future__ import annotations

from typing import Any

from models.plugins import Registry
from workers.data.dataset import Dataset
from workers.data.digits import Digits
from workers.data.generated.phrases import Phrases
from workers.data.generated.sprites import Sprites
from workers.data.own.image_npz import ImageNpz
from workers.data.own.image_parquet import ImageParquet
from workers.data.own.text_lines import TextLines
from workers.data.published.binary_mnist import BinaryMNIST
from workers.data.published.celeba64 import CelebA64
from workers.data.published.cifar10 import CIFAR10
from workers.data.published.dsprites import DSprites
from workers.data.published.mnist import MNIST
from workers.data.published.omniglot import Omniglot
from workers.data.published.svhn import SVHN
from workers.data.published.yahoo import Yahoo

DATASETS: Registry[Dataset] = Registry(
    "dataset",
    Dataset,
    (
        Digits,
        Sprites,
        Phrases,
        MNIST,
        BinaryMNIST,
        Omniglot,
        CIFAR10,
        SVHN,
        CelebA64,
        DSprites,
        Yahoo,
        ImageParquet,
        ImageNpz,
        TextLines,
    ),
    required=("summary", "likelihoods", "shape", "train_examples", "test_examples", "load", "locate", "fetch"),
)


def configure(name: str, **options: Any) -> Dataset:
    """Return a dataset's configuration. Raises KeyError on an unknown name, TypeError or ValueError on an option."""
    return DATASETS[name](**options)
