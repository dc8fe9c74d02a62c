"""Every dataset by name, those of plug-ins too. Adding one is a new file and a line here (docs/extending.md)."""

from __future__ import annotations

from typing import Any

from models.plugins import Registry
from workers.data.binary_mnist import BinaryMNIST
from workers.data.celeba64 import CelebA64
from workers.data.cifar10 import CIFAR10
from workers.data.dataset import Dataset
from workers.data.digits import Digits
from workers.data.dsprites import DSprites
from workers.data.image_npz import ImageNpz
from workers.data.image_parquet import ImageParquet
from workers.data.mnist import MNIST
from workers.data.omniglot import Omniglot
from workers.data.phrases import Phrases
from workers.data.sprites import Sprites
from workers.data.svhn import SVHN
from workers.data.text_lines import TextLines
from workers.data.yahoo import Yahoo

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
    """Return the dataset's configuration. Raises KeyError, TypeError or ValueError on what it does not know."""
    return DATASETS[name](**options)
