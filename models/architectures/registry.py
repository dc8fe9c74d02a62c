"""All architectures by name, plug-ins included. A new one needs a file and a line here (docs/extending.md)."""

from __future__ import annotations

from typing import Any

from models.architecture import Architecture
from models.architectures.conv import Conv
from models.architectures.linear.linear import Linear
from models.architectures.lstm.lstm import LSTM
from models.architectures.mlp import MLP
from models.architectures.resnet import ResNet
from models.architectures.tcvae_mlp import TCVAEMLP
from models.plugins import Registry

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    Architecture,
    (MLP, Conv, ResNet, Linear, TCVAEMLP, LSTM),
    required=("check_shape", "multiply_adds", "build"),
)


def configure(name: str, **options: Any) -> Architecture:
    """Return an architecture. Raises KeyError on an unknown name, TypeError or ValueError on an option."""
    return ARCHITECTURES[name](**options)
