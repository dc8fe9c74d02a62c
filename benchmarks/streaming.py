"""How much slower batches are from images that stay on disk than from the same images in memory.

100,000 images of 3x64x64 (1.2 GB), batches of 128 drawn at random, on the CPU. Mapped once with the file in the
system's cache, as from the second epoch on where memory allows it, and once with the file out of it, as at first.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from workers.data.prepared import FOLDER, prepared_array
from workers.data.resident import Images, MappedImages
from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES, SHAPE, BATCH = 100_000, (3, 64, 64), 128
BATCHES, PAIRS = 50, 10
CPU = torch.device("cpu")


def blocks() -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for start in range(0, EXAMPLES, 1000):
        yield random.integers(0, 256, (min(1000, EXAMPLES - start), *SHAPE), dtype=np.uint8)


def mapped_images(root: Path) -> MappedImages:
    """Return the images mapped from a file that is made at the first call."""
    return MappedImages(torch.from_numpy(prepared_array(root, "noise", (EXAMPLES, *SHAPE), blocks)), None, flip=True)


def seconds_of(images: Images, round_: int) -> float:
    """Return the seconds of one batch, over `BATCHES` random ones that differ by round."""
    random = generator(CPU, 0, "benchmark", round_)
    indices = torch.randint(EXAMPLES, (BATCHES, BATCH), generator=random)
    started = time.perf_counter()
    for batch in indices:
        images.batch(batch, random)
    return (time.perf_counter() - started) / BATCHES


def forget(root: Path) -> None:
    """Drop the file from the system's cache; it must not be mapped."""
    with (root / FOLDER / "noise.npy").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run() -> None:
    """Print the ratios, on one CPU thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        resident = Images(mapped_images(root).pixels.clone(), None, flip=True)
        forget(root)
        cold = seconds_of(mapped_images(root), 0)
        mapped = mapped_images(root)
        mapped.pixels.sum()
        found, plain = [], []
        for pair in range(PAIRS):
            order = (resident, mapped) if pair % 2 else (mapped, resident)
            seconds = {type(images): seconds_of(images, pair) for images in order}
            plain.append(seconds[Images])
            found.append(seconds[MappedImages] / seconds[Images])
    print(f"mapped / resident batch ({BATCH} of {EXAMPLES:,} images 3x64x64, flipped, 1 thread): want <= 1.5")
    spread = f"{min(found):.2f}..{max(found):.2f}, {PAIRS} pairs"
    print(f"  in the system's cache     {statistics.median(found):.2f}  ({spread})")
    print(f"  not in it, once           {cold / statistics.median(plain):.2f}")
    print(f"  resident batch            {1000 * statistics.median(plain):.2f} ms")


if __name__ == "__main__":
    run()
