"""Images and labels from arrays in `.npz` files, as `numpy.savez` writes them. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import Doc

from workers.data.dataset import DataError
from workers.data.own.images import OwnImages

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.own.files import Source
    from workers.data.resident import RawSplit

DAMAGE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""The exceptions of NumPy and zipfile for files that are damaged, contain objects, or have another format."""


@dataclass(frozen=True, kw_only=True)
class ImageNpz(OwnImages):
    """Your own images from arrays in .npz files: uint8 images, and whole numbers as labels."""

    train_file: Annotated[str, Doc("Path of the training file below the data folder.")]
    test_file: Annotated[str, Doc("Path of the test file below the data folder; may be the training file.")]
    train_key: Annotated[str, Doc("Name of the array of training images.")]
    test_key: Annotated[str, Doc("Name of the array of test images.")]
    train_label_key: Annotated[str, Doc("Name of the array of training labels; empty: images without labels.")] = ""
    test_label_key: Annotated[str, Doc("Name of the array of test labels; empty: images without labels.")] = ""
    layout: Annotated[
        Literal["NHW", "NCHW", "NHWC"],
        Doc("Axes of the images: example (N), channel (C, optional for grey images), height and width."),
    ]

    name = "image-npz"
    summary = "your own images: arrays in .npz files, with or without labels; a spec names the files"
    file_options = ("train_file", "test_file")

    def __post_init__(self) -> None:
        super().__post_init__()
        if "C" not in self.layout and self.shape[0] != 1:
            raise ValueError(f"layout is {self.layout}, which has no channels, but shape has {self.shape[0]}")
        for option in ("train_key", "test_key"):
            if not getattr(self, option):
                raise ValueError(f"{option} is empty; name the array of the images")
        if bool(self.train_label_key) != bool(self.test_label_key):
            missing = "test_label_key" if self.train_label_key else "train_label_key"
            raise ValueError(f"{missing} is empty, but the other part has labels; name both or none")

    @property
    def has_labels(self) -> bool:
        """Whether arrays of labels are named."""
        return bool(self.train_label_key)

    def read(self, source: Source) -> RawSplit:
        """Return pixels (N, C, H, W) uint8 and labels (N,) or none. Raises DataError naming file and array."""
        # Imported here, so that planning does not load NumPy.
        import numpy as np

        key, label_key = (getattr(self, f"{source.part}_{kind}") for kind in ("key", "label_key"))
        try:
            content = np.load(source.path, allow_pickle=False)
        except DAMAGE as error:
            raise DataError(f"{source.path}: is not an .npz file, or is damaged: {error}") from error
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise DataError(f"{source.path}: is a single array; save it under a name with numpy.savez")
        with content:
            pixels = self._pixels(source, key, _array(source, content, key, f"{source.part}_key"))
            if not label_key:
                return pixels, None
            labels = _array(source, content, label_key, f"{source.part}_label_key")
        return pixels, self._labels(source, label_key, labels)

    def _pixels(self, source: Source, key: str, images: NDArray[Any]) -> NDArray[np.uint8]:
        import numpy as np

        where = f"{source.path}: array {key!r}"
        if images.dtype != np.uint8:
            raise DataError(f"{where} is {images.dtype}; images must be uint8, 0 to 255")
        sizes = dict(zip("CHW", self.shape, strict=True))
        expected = tuple(sizes[axis] for axis in self.layout[1:])
        if images.shape[1:] != expected:
            axes = ", ".join(["N", *map(str, expected)])
            raise DataError(
                f"{where} has shape {images.shape}, but layout {self.layout} and shape {list(self.shape)} mean ({axes})"
            )
        self.check_rows(source, len(images))
        if self.layout == "NHWC":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images.reshape(-1, *self.shape))

    def _labels(self, source: Source, key: str, labels: NDArray[Any]) -> NDArray[np.integer[Any]]:
        import numpy as np

        where = f"{source.path}: array {key!r}"
        if labels.dtype.kind not in "iu" or not np.can_cast(labels.dtype, np.int64) or labels.ndim != 1:
            raise DataError(
                f"{where} is {labels.dtype} of shape {labels.shape}; labels must be (N,) whole numbers, at most int64"
            )
        if len(labels) != source.rows:
            raise DataError(f"{where} has {len(labels):,} labels, but there are {source.rows:,} images")
        self.check_labels(source, key, labels)
        return labels


def _array(source: Source, content: Mapping[str, NDArray[Any]], key: str, option: str) -> NDArray[Any]:
    if key not in content:
        there = ", ".join(repr(name) for name in content)
        raise DataError(f"{source.path}: has no array {key!r} ({option}); its arrays are {there}")
    try:
        array: Any = content[key]
    except DAMAGE as error:
        raise DataError(f"{source.path}: array {key!r} cannot be read: {error}") from error
    if isinstance(array, bytes):
        raise DataError(f"{source.path}: {key!r} is a file of another format, not an array")
    return array
