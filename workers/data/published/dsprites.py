"""dSprites from the one `.npz` file that its authors publish. Nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, ClassVar

from workers.data.dataset import DataError
from workers.data.generated.factor_grid import FactorGrid
from workers.data.own.image_npz import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
PREPARATION = 1
"""The version of the prepared images; increase it when a pixel or the order changes."""
BLOCK = 4096
"""Images that are read or written at once."""


@dataclass(frozen=True)
class DSprites(FactorGrid):
    """White squares, ellipses and hearts on black, 64×64 (Matthey et al. 2017): 737,280 combinations of factors.

    The training set and the test set are both all 737,280 images, as in the published comparisons. The colour is not a
    factor, because it is always white. `binarise` must be none: every pixel is 0 or 1 already.
    """

    name = "dsprites"
    shape = (1, 64, 64)
    summary = "squares, ellipses and hearts, 64×64, with their factors; `data fetch` downloads dsprites/"
    factor_names = ("shape", "scale", "orientation", "x", "y")
    factor_sizes = (3, 6, 40, 32, 32)

    address: ClassVar[str] = f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{FILE}"

    def locate(self, root: Path) -> list[Path]:
        """Return the file."""
        return [root / "dsprites" / FILE]

    def fetch(self, root: Path) -> None:
        """Download the file and check it."""
        from workers.data.published.fetching import download  # planning needs no HTTP

        (path,) = self.locate(root)
        download(self.address, path)
        self._read(path)

    def images(self, root: Path, order: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pixels, memory-mapped; see `FactorGrid.images`."""
        from workers.data.prepared import prepared_array, prepared_key

        (path,) = self.locate(root)
        key = prepared_key(self.name, PREPARATION, [path])
        return prepared_array(root, key, (len(order), *self.shape), lambda: self._reordered(path, order))

    def _reordered(self, path: Path, order: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        import numpy as np

        packed = self._read(path)
        for start in range(0, len(order), BLOCK):
            bits = np.unpackbits(packed[order[start : start + BLOCK]], axis=1, count=math.prod(self.shape))
            yield (255 * bits).reshape(-1, *self.shape)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        """Return the file's images in its order, as bits: eight pixels per byte; as bytes they would be 3 GB."""
        try:
            with zipfile.ZipFile(path) as archive:
                self._check_classes(archive)
                return self._read_bits(archive)
        except DAMAGE as error:
            again = f"get it again with `mrvae-orch data fetch {self.name} --again`"
            raise DataError(f"{path}: is not dSprites, or damaged: {error}; {again}") from error

    def _check_classes(self, archive: zipfile.ZipFile) -> None:
        """Raise ValueError unless the rows are those of the grid in its order, so that a row number gives factors."""
        import numpy as np

        factors = self.factors_of(np.arange(self.train_examples))
        expected = np.insert(factors, 0, 0, axis=1)  # the colour
        with _opened(archive, "latents_classes") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
        _check_shape("latents_classes", found.shape, expected.shape)
        differs = (found != expected).any(axis=1)
        if differs.any():
            row = int(differs.argmax())
            raise ValueError(
                f"row {row:,} of 'latents_classes' is {found[row].tolist()}, and should be {expected[row].tolist()}"
            )

    def _read_bits(self, archive: zipfile.ZipFile) -> NDArray[np.uint8]:
        import numpy as np

        examples, (_, height, width) = self.train_examples, self.shape
        bits = np.empty((examples, math.ceil(height * width / 8)), np.uint8)
        with _opened(archive, "imgs") as file:
            _check_shape("imgs", _shape_of_bytes(file), (examples, height, width))
            for start in range(0, examples, BLOCK):
                rows = min(BLOCK, examples - start)
                pixels = np.frombuffer(file.read(rows * height * width), np.uint8).reshape(rows, -1)
                _check_binary(pixels, start)
                bits[start : start + rows] = np.packbits(pixels, axis=1)
        return bits


def _opened(archive: zipfile.ZipFile, key: str) -> IO[bytes]:
    if f"{key}.npy" not in archive.namelist():
        raise ValueError(f"it has no array {key!r}")
    return archive.open(f"{key}.npy")


def _shape_of_bytes(file: IO[bytes]) -> tuple[int, ...]:
    """Read the header of an array and return its shape. Raises ValueError unless it is uint8, rows first."""
    import numpy as np

    first_version = np.lib.format.read_magic(file) == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if first_version else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype != np.uint8 or fortran_order:
        raise ValueError(
            f"'imgs' is {dtype}, {'columns' if fortran_order else 'rows'} first; images are uint8, rows first"
        )
    return shape


def _check_shape(key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ValueError(f"{key!r} has shape {found}, and should have {expected}")


def _check_binary(pixels: NDArray[np.uint8], start: int) -> None:
    """Raise ValueError naming the first row with a pixel other than 0 and 1; `pixels` begin with row `start`."""
    largest = pixels.max(axis=1)
    if largest.max() > 1:
        row = int((largest > 1).argmax())
        raise ValueError(f"row {start + row:,} of 'imgs' has a pixel of {largest[row]}; pixels are 0 or 1")
