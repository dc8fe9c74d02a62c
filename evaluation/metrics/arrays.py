"""The one place where tensors of any device and precision become float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Values = NDArray[np.floating] | torch.Tensor
    Float64 = NDArray[np.float64]


def to_float64(values: Values, name: str, dimensions: int) -> Float64:
    """Return the values as a float64 array in host memory.

    Raises:
        ValueError: the values do not have this many dimensions; `name` says which they are.
    """
    if values.ndim != dimensions:
        raise ValueError(f"{name} has the shape {tuple(values.shape)}; it must have {dimensions} dimensions")
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return np.asarray(values.detach().cpu().double())
