"""Sprites of known shape, scale, orientation and position, drawn when they are loaded; no file is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typing_extensions import Doc

from models.layers.tables import require_count
from workers.data.dataset import DataError
from workers.data.generated.factor_grid import FactorGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from models.shapes import Shape

DRAWING = 1
"""The version of the drawn images; increase it when a pixel changes."""
BLOCK = 64
"""Images drawn at once; intermediate results of this size fit into a CPU's cache."""
SMALLEST_SIDE = 16
"""Smallest height and width of an image: in a smaller one a sprite may cover no pixel's centre."""
HEART_RADIUS = 1.4246
"""From the origin to the farthest points of the heart's curve, rounded up."""

OUTLINE = 1 + 1e-9
"""Enlarges sprites slightly, so that pixel centres on an outline are inside in spite of rounding."""


def in_square(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether (u, v) is in the square whose corners are at distance 1."""
    half = math.sqrt(0.5)
    return (abs(u) <= half) & (abs(v) <= half)


def in_ellipse(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether (u, v) is in the ellipse with semi-axes 1 and 1/2."""
    return u * u + 4 * v * v <= 1


def in_heart(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether (u, v) is in the heart (x² + y² - 1)³ <= x² y³, shrunk so that its farthest points are at 1."""
    x, y = HEART_RADIUS * u, HEART_RADIUS * v
    excess = x * x + y * y - 1
    return excess * excess * excess <= x * x * y * y * y


SHAPES: tuple[Callable[..., NDArray[np.bool_]], ...] = (in_square, in_ellipse, in_heart)

COLOURS = ((1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
"""Red, green and blue of each colour, all 0 or 1, so that images are binary."""


@dataclass(frozen=True)
class Sprites(FactorGrid):
    """A white square, ellipse or heart on black, drawn from the factors of dSprites (Matthey et al. 2017).

    A pixel is white if its centre is inside. A square looks the same after a turn by 90°, an ellipse after 180°. A
    single size is 0.5, a single position the leftmost or topmost one. The defaults give dSprites' 737,280 images of
    64×64. More than 1 GiB of pixels is drawn once into a file below the data folder; less is drawn at every start.
    `binarise` must be none: every pixel is 0 or 1 already.
    """

    scales: Annotated[int, Doc("Number of sizes, evenly spaced from 0.5 to 1; a single one is 0.5.")] = 6
    orientations: Annotated[int, Doc("Number of angles, evenly spaced over a full turn.")] = 40
    positions: Annotated[int, Doc("Number of positions along each of x and y, in the middle half of the image.")] = 32
    side: Annotated[int, Doc("Height and width of an image; sprites extend at most a quarter of it.")] = 64
    colours: Annotated[
        int, Doc("Number of colours: white, red, green, blue, yellow, magenta, cyan. Two or more make images RGB.")
    ] = 1

    name = "sprites"
    summary = "squares, ellipses and hearts, drawn from their factors; options set the sizes and counts"
    factor_names = ("shape", "scale", "orientation", "x", "y", "colour")

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("scales", "orientations", "positions", "side", "colours"):
            require_count(option, getattr(self, option))
        if self.side < SMALLEST_SIDE:
            raise ValueError(
                f"side is {self.side}; it must be {SMALLEST_SIDE} or more, so that the smallest sprite is visible"
            )
        if self.colours > len(COLOURS):
            raise ValueError(f"colours is {self.colours}; there are {len(COLOURS)}")

    @property
    def shape(self) -> Shape:
        """(1, side, side), or (3, side, side) where there are several colours."""
        return (3 if self.colours > 1 else 1, self.side, self.side)

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """The number of shapes, scales, orientations, places along x and along y, and colours."""
        return (len(SHAPES), self.scales, self.orientations, self.positions, self.positions, self.colours)

    def locate(self, root: Path) -> list[Path]:  # noqa: ARG002 (the same for any root)
        """Return no file: sprites are drawn."""
        return []

    def fetch(self, root: Path) -> None:  # noqa: ARG002 (there is nothing to put there)
        """Raise DataError: there is nothing to fetch."""
        raise DataError("sprites are drawn when they are loaded; there is nothing to fetch")

    def images(self, root: Path, order: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pixels; see `FactorGrid.images`."""
        # Imported here, so that planning does not load them.
        import numpy as np

        from workers.data.prepared import prepared_array, prepared_key
        from workers.data.resident import LARGEST_RESIDENT

        def blocks() -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(order), BLOCK):
                yield self.draw(self.factors_of(order[start : start + BLOCK]))

        shape = (len(order), *self.shape)
        if math.prod(shape) <= LARGEST_RESIDENT:
            return np.concatenate(list(blocks()))
        sizes = f"{self.scales}-{self.orientations}-{self.positions}-{self.side}-{self.colours}"
        return prepared_array(root, prepared_key(f"sprites-{sizes}", DRAWING, []), shape, blocks)

    def draw(self, factors: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images (B, C, side, side), each value 0 or 255, of these factors (B, 6)."""
        import numpy as np

        shape, scale, orientation, *places, colour = factors.T
        reach = self.side / 4
        radius = reach * np.linspace(0.5, 1, self.scales)[scale] * OUTLINE
        centres = np.linspace(reach, self.side - reach, self.positions)
        pixels = np.arange(self.side) + 0.5
        # From the sprite's centre to those of columns and rows (B, side), in units of its radius.
        across, down = ((pixels - centres[place, None]) / radius[:, None] for place in places)
        angle = orientation * (2 * np.pi / self.orientations)
        cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        # Rows count downwards, and the tip of an upright heart is at the bottom.
        u = (cosine * across)[:, None, :] - (sine * down)[:, :, None]
        v = -(sine * across)[:, None, :] - (cosine * down)[:, :, None]
        drawn = np.zeros((len(factors), 1, self.side, self.side), np.uint8)
        for number, is_inside in enumerate(SHAPES):
            of_shape = shape == number
            drawn[of_shape, 0] = np.uint8(255) * is_inside(u[of_shape], v[of_shape])
        if self.colours == 1:
            return drawn
        return drawn & np.uint8(255) * np.array(COLOURS, np.uint8)[colour, :, None, None]
