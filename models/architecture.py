"""The contract of an architecture's configuration. Imports no torch: planning reads configurations only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from models.vae import VAE

Shape = tuple[int, ...]
"""The shape of one example: (channels, height, width) of an image, (longest, vocabulary) of a text, one-hot."""


@dataclass(frozen=True)
class Gating:
    """The activations of a multi-rate network's gates (MR-VAE, Eq. 7), and how many β condition it."""

    encoder: str = "sigmoid"
    decoder: str = "sqrt-relu"


@dataclass(frozen=True)
class Architecture:
    """The frozen options of one architecture; subclasses add theirs and are listed in `models.registry`.

    `__post_init__` of a subclass raises ValueError where an option is out of range.
    """

    name: ClassVar[str]

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where this architecture cannot take examples of this shape."""
        raise NotImplementedError

    def check_likelihood(self, likelihood: str) -> None:
        """Raise ValueError where this architecture cannot have this likelihood; most can have any of images."""
        if likelihood == "categorical":
            raise ValueError(
                f"architecture {self.name!r} is of images; likelihood 'categorical' is of text: choose another"
            )

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one example's forward pass, for cost estimates before anything ran."""
        raise NotImplementedError

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> VAE:
        """Return the model with PyTorch's default initialisation; `gating` None builds the plain one."""
        raise NotImplementedError
