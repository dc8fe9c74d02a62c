"""CelebA at 64×64, from torchvision's on-disk layout: `<root>/celeba/`. It is decoded once, then memory-mapped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from workers.data.dataset import DataError, Flip
from workers.data.published.reading import PublishedImages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.split import ResidentData

PREPARATION = 1
"""The version of the prepared images; increase it when the same files give other pixels."""
BLOCK = 1024
"""Images that are decoded at once."""
ALIGNED = (178, 218)
"""Width and height of the aligned images."""
CROP = (15, 40, 163, 188)
"""Left, upper, right and lower: the face, in a square of 148 pixels."""
PARTS = ("train", "validation", "test")
"""In the order of their numbers in the list of parts."""


@dataclass(frozen=True)
class CelebA64(PublishedImages):
    """Faces of celebrities, 64×64 (Liu et al., 2015): 162,770 train, 19,867 validation, 19,962 test.

    The aligned images, cropped to the face and resized bilinearly. Their 40 attributes are not read.
    """

    flip: Flip = True

    name = "celeba64"
    shape = (3, 64, 64)
    published: ClassVar[Mapping[str, int]] = {"train": 162_770, "validation": 19_867, "test": 19_962}
    summary = "faces, 64×64; `data fetch` downloads celeba/; the first use decodes them, which takes minutes"

    @staticmethod
    def reader() -> Any:
        """Return torchvision's class, which has the addresses and md5 of the files."""
        # Imported here because torchvision takes seconds to import and only fetching needs it.
        from torchvision.datasets import CelebA

        return CelebA

    @property
    def has_labels(self) -> bool:
        """Whether every example has a label."""
        return False

    def load(self, root: Path) -> ResidentData:
        """Return the prepared splits. Raises DataError where a file is missing or damaged, or the disk is full."""
        # Imported here because they load torch and NumPy, which planning must not.
        from workers.data.prepared import prepared_array, prepared_key
        from workers.data.resident import prepare

        self.check_present(root)
        partition, image = self.locate(root)
        splits = {}
        for part, rows in self.published.items():
            key = prepared_key(f"{self.name}-{part}", PREPARATION, [partition, image.parent])
            blocks = partial(self._decoded, root, part)
            splits[part] = (prepared_array(root, key, (rows, *self.shape), blocks), None)
        return prepare(self, splits, flip=self.flip)

    def locate(self, root: Path) -> list[Path]:
        """Return the list of parts and the last image; the other images are not looked for."""
        last = f"{sum(self.published.values()):06}.jpg"
        return [root / "celeba" / "list_eval_partition.txt", root / "celeba" / "img_align_celeba" / last]

    def fetch(self, root: Path) -> None:
        """Download the archive with torchvision and unpack it. Raises RuntimeError, also where gdown is missing."""
        try:
            self.reader()(str(root), split="test", download=True)
        except Exception as error:  # torchvision downloads with gdown, which defines further exceptions
            raise RuntimeError(str(error)) from error
        (root / "celeba" / "img_align_celeba.zip").unlink()

    def _decoded(self, root: Path, part: str) -> Iterator[NDArray[np.uint8]]:
        import numpy as np

        paths = self._images(root, part)
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), BLOCK):
                yield np.stack(list(pool.map(_decode, paths[start : start + BLOCK])))

    def _images(self, root: Path, part: str) -> list[Path]:
        """Return the images of a part, from the list of parts."""
        partition, image = self.locate(root)
        numbers = {str(number): name for number, name in enumerate(PARTS)}
        paths: dict[str, list[Path]] = {name: [] for name in PARTS}
        for row, line in enumerate(partition.read_text().splitlines()):
            name, _, number = line.strip().partition(" ")
            if number.strip() not in numbers:
                raise DataError(f"{partition}: row {row:,} is {line!r}, not an image and its part, 0, 1 or 2")
            paths[numbers[number.strip()]].append(image.with_name(name))
        found = {name: len(images) for name, images in paths.items()}
        if found != self.published:
            raise DataError(f"{partition}: has {found} images, not {dict(self.published)}; get the official list")
        return paths[part]


def _decode(path: Path) -> NDArray[np.uint8]:
    """Return an image (3, 64, 64), cropped and resized. Raises DataError naming the file."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            found = (image.mode, image.size)
            face = image.crop(CROP).resize((64, 64), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path}: cannot be decoded as an image: {error}; unpack the archive again") from error
    if found != ("RGB", ALIGNED):
        raise DataError(f"{path}: is {found[0]}, {found[1]}; aligned images are RGB, {ALIGNED} (width, height)")
    return np.asarray(face).transpose(2, 0, 1)
