from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typing_extensions import Doc

from models.layers.tabled import TabledArchitecture
from models.layers.tables import Dense, Table, checked_widths
from models.shapes import describe_shape

if TYPE_CHECKING:
    from models.shapes import Shape


@dataclass(frozen=True)
class MLP(TabledArchitecture):
    """A VAE of fully connected layers, for examples of any shape.

    Every hidden layer has a ReLU, and in the multi-rate network a gate before the ReLU; the last layer has neither.
    """

    hidden: Annotated[tuple[int, ...], Doc("Widths of the encoder's hidden layers; reversed in the decoder.")] = (
        256,
        256,
    )

    name = "mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", checked_widths("hidden", self.hidden))

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where the shape is not one of positive sizes."""
        if not shape or min(shape) < 1:
            raise ValueError(
                f"architecture {self.name!r} takes examples of any non-empty shape, not {describe_shape(shape)!r}"
            )

    def table(self, shape: Shape) -> Table:
        """Return the layers for examples of this shape. Raises ValueError where it has no elements."""
        self.check_shape(shape)
        encoder = tuple(Dense((width,)) for width in self.hidden)
        return Table(encoder, decoder=(*reversed(encoder), Dense(shape, gated=False, relu=False)))
