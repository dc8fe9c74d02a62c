from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typing_extensions import Doc

from models.architectures.mlp import MLP
from models.layers.tables import Dense, Table, checked_widths

if TYPE_CHECKING:
    from models.shapes import Shape


@dataclass(frozen=True)
class TCVAEMLP(MLP):
    """The fully connected VAE of β-TCVAE (Chen et al. 2018) for dSprites; takes examples of any shape.

    In the multi-rate network (MR-VAE, Bae et al. 2022) every hidden layer except the decoder's first one has a gate
    before its ReLU or tanh.
    """

    latent_units: int = 10
    hidden: Annotated[tuple[int, ...], Doc("Widths of the encoder's hidden layers, with ReLU.")] = (1200, 1200)
    decoder_hidden: Annotated[
        tuple[int, ...], Doc("Widths of the decoder's hidden layers, from the latents on, with tanh.")
    ] = (1200, 1200, 1200)
    log_sigma: Annotated[bool, Doc("The encoder's second head gives log σ, as in the paper's code, not log σ².")] = True

    name = "tcvae-mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "decoder_hidden", checked_widths("decoder_hidden", self.decoder_hidden))

    def table(self, shape: Shape) -> Table:
        """Return the layers for examples of this shape. Raises ValueError where it has no elements."""
        self.check_shape(shape)
        first, *rest = self.decoder_hidden
        return Table(
            encoder=tuple(Dense((width,)) for width in self.hidden),
            decoder=(
                Dense((first,), gated=False, relu=False, tanh=True),
                *(Dense((width,), relu=False, tanh=True) for width in rest),
                Dense(shape, gated=False, relu=False),
            ),
            log_sigma=self.log_sigma,
        )
