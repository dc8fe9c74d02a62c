"""Every architecture by name, those of plug-ins too. Adding one is a new file and a line here (docs/extending.md)."""

from __future__ import annotations

from typing import Any

from models.architecture import Architecture
from models.conv import Conv
from models.linear import Linear
from models.lstm import LSTM
from models.mlp import MLP
from models.plugins import Registry
from models.resnet import ResNet
from models.tcvae_mlp import TCVAEMLP

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    Architecture,
    (MLP, Conv, ResNet, Linear, TCVAEMLP, LSTM),
    required=("check_shape", "multiply_adds", "build"),
)


def configure(name: str, **options: Any) -> Architecture:
    """Return the architecture so configured. Raises KeyError, TypeError or ValueError on unknown ones."""
    return ARCHITECTURES[name](**options)
