from __future__ import annotations

import math


def bits_per_dimension(distortion_nats: float, rate_nats: float, dimensions: int) -> float:
    """Return (distortion + rate) / (dimensions · ln 2): the bits a value takes in a code as long as the ELBO.

    `dimensions` is the number of values in one example (pixels × channels). It means something only where the
    distortion is a negative log-likelihood in nats. Raises ValueError where `dimensions` is below 1.
    """
    if dimensions < 1:
        raise ValueError(f"an example of {dimensions} dimensions has no bits per dimension")
    return (distortion_nats + rate_nats) / (dimensions * math.log(2))
