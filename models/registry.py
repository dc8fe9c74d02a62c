"""Every architecture by name. Adding one is a new file and a line here."""

from __future__ import annotations

from typing import Any

from models.architecture import Architecture
from models.conv import Conv
from models.mlp import MLP
from models.resnet import ResNet

ARCHITECTURES: dict[str, type[Architecture]] = {
    architecture.name: architecture for architecture in (MLP, Conv, ResNet)
}


def configure(name: str, **options: Any) -> Architecture:
    """Return the architecture's configuration. Raises KeyError, TypeError or ValueError on what it does not know."""
    return ARCHITECTURES[name](**options)
