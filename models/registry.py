"""Every architecture by name. Adding one is a new file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.conv import Conv
from models.linear import Linear
from models.mlp import MLP
from models.resnet import ResNet

if TYPE_CHECKING:
    from models.architecture import Architecture

ARCHITECTURES: dict[str, type[Architecture]] = {
    architecture.name: architecture for architecture in (MLP, Conv, ResNet, Linear)
}


def configure(name: str, **options: Any) -> Architecture:
    """Return the architecture so configured. Raises KeyError, TypeError or ValueError on unknown ones."""
    return ARCHITECTURES[name](**options)
