"""The Ray cluster that this process belongs to."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def connected_ray(address: str = "auto") -> Iterator[None]:
    """Hold a connection to a running cluster for the block; "auto" is the one whose job or node this process is.

    Raises ClusterError where the cluster cannot be reached or does not take the token.
    """
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"cannot connect to the Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
