from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.tables import Dense, Table, TabledArchitecture, describe_shape, require_count

if TYPE_CHECKING:
    from models.architecture import Shape


@dataclass(frozen=True)
class MLP(TabledArchitecture):
    """A VAE of fully connected layers, for examples of any shape.

    `hidden` are the widths of the encoder's hidden layers, from the input on; the decoder's are the reverse.
    Every hidden layer has a ReLU, and in the multi-rate network a gate before it; the last layer has neither.
    """

    hidden: tuple[int, ...] = (256, 256)

    name = "mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.hidden, (list, tuple)) or not self.hidden:
            raise ValueError(f"hidden is {self.hidden!r}; it must be a list of layer widths, such as [256, 256]")
        for width in self.hidden:
            require_count("a width in hidden", width)
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where the shape is not one of positive sizes."""
        if not shape or min(shape) < 1:
            raise ValueError(f"architecture 'mlp' takes examples of any non-empty shape, not {describe_shape(shape)!r}")

    def table(self, shape: Shape) -> Table:
        """Return the layers for examples of this shape. Raises ValueError where it has no elements."""
        self.check_shape(shape)
        encoder = tuple(Dense((width,)) for width in self.hidden)
        return Table(encoder, decoder=(*reversed(encoder), Dense(shape, gated=False, relu=False)))
