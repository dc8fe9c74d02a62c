"""The interface of an architecture's configuration. Imports no torch, because planning only reads configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import Doc

if TYPE_CHECKING:
    from models.shapes import Shape
    from models.vae import VAE

LatentUnits = Annotated[int, Doc("Number of latent variables.")]


@dataclass(frozen=True)
class Gating:
    """The activations of a multi-rate network's gates (MR-VAE, Eq. 7)."""

    encoder: str = "sigmoid"
    decoder: str = "sqrt-relu"


@dataclass(frozen=True)
class Architecture:
    """The options of one architecture; subclasses add options and are listed in `models.architectures.registry`.

    `__post_init__` of a subclass raises ValueError where an option is out of range.
    """

    name: ClassVar[str]

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where this architecture cannot take examples of this shape."""
        raise NotImplementedError

    def check_likelihood(self, likelihood: str) -> None:
        """Raise ValueError where this architecture cannot have this likelihood; the default allows all of images."""
        if likelihood == "categorical":
            raise ValueError(
                f"architecture {self.name!r} is for images, likelihood 'categorical' is for text; choose another one"
            )

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass, for cost estimates without measurements."""
        raise NotImplementedError

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> VAE:
        """Return the model with PyTorch's default initialisation; `gating` None builds the plain one."""
        raise NotImplementedError
