"""Every dataset by name. Adding one is a new file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.data.digits import Digits
from workers.data.image_npz import ImageNpz
from workers.data.image_parquet import ImageParquet
from workers.data.mnist import MNIST

if TYPE_CHECKING:
    from workers.data.dataset import Dataset

DATASETS: dict[str, type[Dataset]] = {dataset.name: dataset for dataset in (Digits, MNIST, ImageParquet, ImageNpz)}


def configure(name: str, **options: Any) -> Dataset:
    """Return the dataset's configuration. Raises KeyError, TypeError or ValueError on what it does not know."""
    return DATASETS[name](**options)
