"""Omniglot at 28×28, as Burda et al. (2015) prepared it: `<root>/omniglot/chardata.mat`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workers.data.dataset import Binarisation, DataError
from workers.data.published.reading import WithoutValidation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.resident import RawSplit

URL = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat"
ARRAYS = {"train": ("data", "target"), "test": ("testdata", "testtarget")}
"""The arrays of each part: grey values (784, N) in [0, 1], and alphabets (50, N), one-hot."""
SHUFFLE_SEED = 0
DAMAGE = (ValueError, TypeError, KeyError, IndexError, EOFError, OSError, NotImplementedError, zlib.error)
"""The exceptions of SciPy for files that are damaged or not MATLAB's."""


@dataclass(frozen=True)
class Omniglot(WithoutValidation):
    """Handwritten characters of 50 alphabets, 28×28 (Lake et al., 2015; this form: Burda et al., 2015).

    24,345 train, 8,070 test, labelled by alphabet. Each part is shuffled once, because the file is sorted by alphabet.
    With dynamic binarisation the training images are drawn again at each use, and the validation and test images once,
    from one seed for all trials. This is the preparation of the Multi-Rate VAE paper, with another seed.
    """

    binarise: Binarisation = "dynamic"

    name = "omniglot"
    shape = (1, 28, 28)
    published: ClassVar[Mapping[str, int]] = {"train": 24_345, "test": 8_070}
    classes = 50
    evaluated = "static"
    summary = "characters of 50 alphabets, 28×28; `data fetch` downloads omniglot/"

    def locate(self, root: Path) -> list[Path]:
        """Return the file."""
        return [root / "omniglot" / "chardata.mat"]

    def fetch(self, root: Path) -> None:
        """Download the file and check it."""
        from workers.data.published.fetching import download  # planning needs no HTTP

        [path] = self.locate(root)
        download(URL, path)
        for part in ARRAYS:
            self.read(root, part)

    def read(self, root: Path, part: str) -> RawSplit:
        """Return a part's pixels (N, 1, 28, 28) uint8 and labels (N,). Raises DataError naming file and row."""
        # Imported here, so that planning does not load them.
        import numpy as np
        from scipy.io import loadmat

        [path] = self.locate(root)
        try:
            arrays = loadmat(path, variable_names=ARRAYS[part])
            images, alphabets = (np.asarray(arrays[name], np.float64).T for name in ARRAYS[part])
        except DAMAGE as error:
            raise DataError(f"{path}: cannot be read: {error}; {self.again}") from error
        rows = self.published[part]
        if images.shape != (rows, 784) or alphabets.shape != (rows, self.classes):
            raise DataError(
                f"{path}: {' and '.join(ARRAYS[part])} are {images.shape[::-1]} and {alphabets.shape[::-1]}, not "
                f"{(784, rows)} and {(self.classes, rows)}; {self.again}"
            )
        self._check_rows(path, part, (images >= 0) & (images <= 1), "a pixel outside 0 to 1")
        self._check_rows(path, part, np.sort(alphabets)[:, ::-1] == np.eye(1, self.classes), "not just one alphabet")
        # MATLAB stores the pixels of an image column by column.
        pixels = np.round(images * 255).astype(np.uint8).reshape(rows, 1, 28, 28).transpose(0, 1, 3, 2)
        order = np.random.default_rng(SHUFFLE_SEED).permutation(rows)
        return self.checked(part, [path], pixels[order], alphabets.argmax(1)[order])

    def _check_rows(self, path: Path, part: str, good: NDArray[np.bool_], what: str) -> None:
        bad = ~good.all(1)
        if bad.any():
            raise DataError(f"{path}: row {int(bad.argmax()):,} of {part} has {what}; {self.again}")
