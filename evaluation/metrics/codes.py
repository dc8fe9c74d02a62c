"""The one place where codes and what they are compared with, classes and factors of variation, are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.arrays import to_float64

if TYPE_CHECKING:
    from collections.abc import Sized

    import torch
    from numpy.typing import NDArray

    from evaluation.metrics.arrays import Float64, Values

    Int64 = NDArray[np.int64]
    Classes = NDArray[np.integer] | torch.Tensor

LARGEST_LOG_VARIANCE = 100


def to_finite(values: Values, name: str) -> Float64:
    """Return values (N, K) as float64 in host memory.

    Raises:
        ValueError: there are other than 2 dimensions, no rows or columns, or a value is infinite or not a number.
    """
    array = to_float64(values, name, 2)
    if array.size == 0:
        raise ValueError(f"{name} have the shape {array.shape}: there is nothing to measure")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(
            f"{name}: row {row}, column {column} (from 0) is {array[row, column]}; "
            "the model has diverged, measure an earlier checkpoint or leave this metric out"
        )
    return array


def to_log_variances(values: Values) -> Float64:
    """Return posterior log variances (N, K) as float64 in host memory.

    Raises:
        ValueError: as `to_finite`, and where one is outside ±100: no trained posterior is, and its inverse overflows.
    """
    log_variances = to_finite(values, "the posterior log variances")
    row, column = divmod(int(np.abs(log_variances).argmax()), log_variances.shape[1])
    if abs(log_variances[row, column]) > LARGEST_LOG_VARIANCE:
        raise ValueError(
            f"the posterior log variances: row {row}, column {column} (from 0) is {log_variances[row, column]:g}, "
            f"outside ±{LARGEST_LOG_VARIANCE}; give logarithms of variances, of a model that has not diverged"
        )
    return log_variances


def to_classes(values: Classes, name: str, dimensions: int) -> Int64:
    """Return integer classes as int64 in host memory: labels (N,), or the factors of variation (N, F).

    Raises:
        ValueError: there are other dimensions, no values, or the values are not integers.
    """
    array = np.asarray(values) if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"{name} have the shape {array.shape}; {dimensions} dimensions and some rows are needed")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} are {array.dtype}; number their values and give integers")
    return array.astype(np.int64)


def require_same_length(name: str, one: Sized, other_name: str, other: Sized) -> None:
    """Raise ValueError where two arrays are not of the same examples."""
    if len(one) != len(other):
        raise ValueError(f"there are {len(one)} {name} and {len(other)} {other_name}; give both for the same examples")


def require_variation(classes: Int64, name: str) -> None:
    """Raise ValueError where classes (N,) are all one: no code can tell anything of them."""
    if (classes == classes[0]).all():
        raise ValueError(
            f"{name} has one value, {classes[0]}, in all {len(classes)} examples; "
            "leave it out or give examples in which it varies"
        )
