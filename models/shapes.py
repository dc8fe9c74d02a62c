"""The shape of an example. Imports nothing, because configurations, layer tables and networks all import it."""

from __future__ import annotations

Shape = tuple[int, ...]
"""The shape of one example: (channels, height, width) of an image, (longest, vocabulary) of a text, one-hot."""


def describe_shape(shape: Shape) -> str:
    """Return a shape as text, such as 1x28x28."""
    return "x".join(map(str, shape))
