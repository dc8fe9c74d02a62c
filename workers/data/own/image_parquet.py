"""Encoded images and labels from Parquet files, the format of public dataset hubs."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc

from workers.data.dataset import DataError
from workers.data.own.images import OwnImages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workers.data.own.files import Source
    from workers.data.resident import RawSplit

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode of 8-bit images, by their number of channels."""
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class ImageParquet(OwnImages):
    """Your own images from two Parquet files: a column of encoded images (PNG, JPEG, …) and a column of labels.

    Images are not converted: each must have the height and width of `shape`, and be 8-bit grey (1 channel) or RGB (3
    channels).
    """

    train: Annotated[str, Doc("Path of the training file below the data folder.")]
    test: Annotated[str, Doc("Path of the test file below the data folder.")]
    image_column: Annotated[str, Doc("Column of encoded images: bytes, or structs with a field `bytes`.")] = "image"
    label_column: Annotated[str, Doc("Column of labels, whole numbers; empty: images without labels.")] = "label"

    name = "image-parquet"
    summary = "your own images: encoded, in Parquet files, with or without labels; a spec names the files"
    file_options = ("train", "test")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[0] not in MODES:
            raise ValueError(f"shape has {self.shape[0]} channels; encoded images have 1 (grey) or 3 (RGB)")
        if not self.image_column:
            raise ValueError("image_column is empty; name the column of the images")

    @property
    def has_labels(self) -> bool:
        """Whether a column of labels is named."""
        return bool(self.label_column)

    def read(self, source: Source) -> RawSplit:
        """Return pixels (N, C, H, W) uint8 and labels (N,) int64 or none. Raises DataError naming file and row."""
        # Imported here, so that planning does not load them.
        import numpy as np
        import pyarrow.parquet as pq

        channels, height, width = self.shape
        with _damage_as_data_error(source.path), pq.ParquetFile(source.path) as file:
            self.check_rows(source, file.metadata.num_rows)
            self._check_columns(source.path, file.schema_arrow)
            pixels = np.empty((source.rows, height, width, channels), np.uint8)
            labels = np.empty(source.rows, np.int64) if self.has_labels else None
            row = 0
            columns = [self.image_column, *([self.label_column] if self.has_labels else [])]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                if labels is not None:
                    labels[row : row + len(batch)] = self._labels(source, batch, row)
                for content in _encoded(batch.column(self.image_column)):
                    pixels[row] = self._decode(content.as_py(), source.path, row).reshape(height, width, channels)
                    row += 1
        if labels is not None:
            self.check_labels(source, self.label_column, labels)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels

    def _check_columns(self, path: Path, schema: Any) -> None:
        import pyarrow as pa

        wanted = {"image_column": self.image_column}
        if self.has_labels:
            wanted["label_column"] = self.label_column
        for option, column in wanted.items():
            if column not in schema.names:
                there = ", ".join(repr(name) for name in schema.names)
                raise DataError(f"{path}: has no column {column!r} ({option}); its columns are {there}")
        image = schema.field(self.image_column).type
        encoded = _bytes_field(image) if pa.types.is_struct(image) else image
        if encoded is None or not (pa.types.is_binary(encoded) or pa.types.is_large_binary(encoded)):
            raise DataError(
                f"{path}: column {self.image_column!r} is {image}; it must be the bytes of image files (binary, or a "
                "struct with binary 'bytes')"
            )
        if self.has_labels and not pa.types.is_integer(label := schema.field(self.label_column).type):
            raise DataError(
                f"{path}: column {self.label_column!r} is {label}; labels must be whole numbers (an empty "
                "label_column reads none)"
            )

    def _labels(self, source: Source, batch: Any, row: int) -> NDArray[np.int64]:
        import pyarrow as pa

        column = batch.column(self.label_column)
        if column.null_count:
            first = row + column.is_null().index(True).as_py()
            raise DataError(f"{source.path}: row {first:,} of {self.label_column!r} has no label")
        return column.cast(pa.int64()).to_numpy()

    def _decode(self, content: bytes | None, path: Path, row: int) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image

        where = f"{path}: row {row:,} of {self.image_column!r}"
        if content is None:
            raise DataError(f"{where} has no image bytes")
        channels, height, width = self.shape
        try:
            with Image.open(io.BytesIO(content)) as image:
                if (image.mode, image.height, image.width) == (MODES[channels], height, width):
                    return np.asarray(image)
                found = f"{image.mode}, {image.height}×{image.width}"
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
            # Pillow names content that it cannot identify by an address in memory.
            reason = str(error).partition(" <")[0]
            raise DataError(f"{where} cannot be decoded as an image: {reason}") from error
        wanted = f"{MODES[channels]}, {height}×{width}"
        raise DataError(f"{where} is {found} (height×width); shape {list(self.shape)} means {wanted}")


def _bytes_field(struct_type: Any) -> Any:
    return struct_type.field("bytes").type if struct_type.get_field_index("bytes") >= 0 else None


def _encoded(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


@contextlib.contextmanager
def _damage_as_data_error(path: Path) -> Iterator[None]:
    """Raise DataError where a file is not valid Parquet; errors of disk or network, which have an errno, pass."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise DataError(f"{path}: is not a Parquet file, or is damaged: {error}") from error
