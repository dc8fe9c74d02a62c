"""The rules for records that are read from a store: what no evaluation and no attempt writes is refused.

Values that a diverged model gives, which are not finite, are genuine and pass. The records are those of
`evaluation.records`, which reads with these rules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LEAST_RATE = -1e-2
"""A rate is 0 or more. Rounding, and estimates from samples, may give a little less."""
RELATIVE, ABSOLUTE = 1e-4, 1e-3
"""How far sums in float32 may be from each other."""


def point_problem(point: Any) -> str:
    """Return what is wrong with an operating point; empty if nothing is."""
    lists = {"betas": point.betas, "rates_nats": point.rates_nats, **point.metrics}
    # Parquet allows null in a list, whatever the column allows.
    empty = (name for name, values in lists.items() if isinstance(values, tuple) and None in values)
    return next((f"a value of {name} is null" for name in empty), "") or next(_of_point(point), "")


def history_problem(row: Any) -> str:
    """Return what is wrong with an epoch; empty if nothing is."""
    return _below_zero(row, ("epoch", "step", "images", "seconds"))


def cost_problem(cost: Any) -> str:
    """Return what is wrong with a cost row; empty if nothing is."""
    if cost.attempt < 1:
        return f"attempt is {cost.attempt}"
    optional = ("flops", "joules", "peak_memory_bytes", "measured_share", "cpu_seconds")
    known = [name for name in optional if getattr(cost, name) is not None]
    return _below_zero(cost, ("seconds", "device_count", "images", "started_at", *known))


def repeated(points: Sequence[Any]) -> str:
    """Return which operating point of an evaluation is there twice; empty if none is."""
    seen = set()
    for point in points:
        if point.betas in seen:
            return f"β {', '.join(f'{beta:g}' for beta in point.betas)} is there twice"
        seen.add(point.betas)
    return ""


PROBLEMS: Mapping[str, Callable[[Any], str]] = {
    "points": point_problem,
    "history": history_problem,
    "costs": cost_problem,
}
"""What finds the problem of a record, by its kind."""


def _of_point(point: Any) -> Iterator[str]:
    if not point.betas or not all(math.isfinite(beta) and beta > 0 for beta in point.betas):
        yield f"β is {list(point.betas)}; each must be a finite number above 0"
    if not point.rates_nats:
        yield "it has no rate"
    if any(rate < LEAST_RATE for rate in (*point.rates_nats, point.rate_nats)):
        yield f"the rate is {point.rate_nats:g} nats"
    if point.examples < 1 or point.posterior_samples < 1:
        yield f"it is a mean over {point.examples} examples and {point.posterior_samples} samples"
    if not _agree(point.rate_nats, sum(point.rates_nats)):
        yield f"the rate is {point.rate_nats:g} nats, and its layers have {sum(point.rates_nats):g}"
    if not _agree(point.elbo, -(point.distortion + point.rate_nats)):
        yield f"the ELBO is {point.elbo:g}, and −(distortion + rate) is {-(point.distortion + point.rate_nats):g}"


def _agree(one: float, other: float) -> bool:
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.isfinite(one) == math.isfinite(other)
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _below_zero(record: Any, names: Sequence[str]) -> str:
    wrong = (name for name in names if not (math.isfinite(getattr(record, name)) and getattr(record, name) >= 0))
    return next((f"{name} is {getattr(record, name):g}" for name in wrong), "")
