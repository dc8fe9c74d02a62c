"""The test of equivalence between a sweep's curves and a reference's, within a tolerance, with seed variance.

One number for each seed is compared: the mean distortion over the rates that all curves share, or the difference of two
methods' means. Two one-sided t-tests (Schuirmann 1987), each at 5 %, decide: the 90 % interval of the distance is
within the tolerance, outside, or across its end (`evaluation.statistics`). Seeds of the sweep and of the reference are
assumed to have the same variance, so that a single published curve can be compared.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation.curves import CommonMeans, RatePoint, common_means, interpolate
from evaluation.report.formatting import difference, interval, listed, percent, significant
from evaluation.statistics import difference_of_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.statistics import Estimate

Curve = tuple[RatePoint, ...]
CheckOutcome = Literal["passed", "failed", "undecided", "skipped"]

LEAST_COVERAGE = 0.5
"""The share of the reference's rates that a sweep must span."""
GAP_RATES = 201
"""The number of rates at which the gap is evaluated."""


@dataclass(frozen=True)
class Check:
    """The result of one comparison.

    `rates` is the interval of the means, and `distance` the sweep's mean less the reference's; None where there is
    none. "undecided" means too few or unfinished seeds, and does not pass. "skipped" means that the reference cannot
    decide.
    """

    name: str
    outcome: CheckOutcome
    message: str
    tolerance: float | None = None
    rates: RatePoint | None = None
    distance: Estimate | None = None


def check_curve(name: str, measured: Sequence[Curve], reference: Sequence[Curve], tolerance: float, unit: str) -> Check:
    """Compare a method's curves, one for each seed, with the reference's."""
    common = _shared_rates(measured, reference)
    if common.interval is None:
        return Check(name, "failed", common.reason, tolerance)
    means = common.means[: len(measured)], common.means[len(measured) :]
    gap = _largest_gap(measured, reference, common.interval)
    return _check(name, *means, tolerance, common.interval, unit, remark=f"; the largest gap is {gap}")


def check_difference(
    name: str,
    measured: Sequence[tuple[Curve, Curve]],
    reference: Sequence[tuple[Curve, Curve]],
    tolerance: float,
    unit: str,
) -> Check:
    """Compare the difference of two methods, paired by seed, with the reference's."""
    flat_measured, flat_reference = ([curve for pair in side for curve in pair] for side in (measured, reference))
    common = _shared_rates(flat_measured, flat_reference)
    if common.interval is None:
        return Check(name, "failed", common.reason, tolerance)
    differences = [one - other for one, other in zip(common.means[::2], common.means[1::2], strict=True)]
    means = differences[: len(measured)], differences[len(measured) :]
    here, there = (difference(statistics.fmean(side)) for side in means)
    remark = f"; the methods differ by {here} here and by {there} in the reference"
    return _check(name, *means, tolerance, common.interval, unit, remark=remark)


def _check(
    name: str,
    measured: Sequence[float],
    reference: Sequence[float],
    tolerance: float,
    rates: RatePoint,
    unit: str,
    *,
    remark: str,
) -> Check:
    found = difference_of_means(measured, reference)
    result = found.within(tolerance)
    where = f"over rates {significant(rates[0])} to {significant(rates[1])} nats"
    message = f"{difference(found.value or 0.0)} {unit}{_interval(found)} {where}, tolerance ±{tolerance:g}{remark}"
    if found.reason:
        message += f"; {found.reason}: train two seeds or more"
    elif result == "undecided":
        message += "; the interval crosses the tolerance: more seeds make it narrower"
    return Check(name, result, message, tolerance, rates, found)


def _interval(found: Estimate) -> str:
    ends = interval(found, difference)
    return f" ({percent(found.level)} interval {ends})" if ends else ""


def _shared_rates(measured: Sequence[Curve], reference: Sequence[Curve]) -> CommonMeans:
    common, own = common_means([*measured, *reference]), common_means(reference)
    # If all curves share rates, those of the reference do too.
    if common.interval is None or own.interval is None:
        return common
    share = (common.interval[1] - common.interval[0]) / (own.interval[1] - own.interval[0])
    if share >= LEAST_COVERAGE:
        return common
    shared, spanned = (f"{significant(low)} to {significant(high)}" for low, high in (common.interval, own.interval))
    reason = (
        f"the curves share the rates {shared} nats, {100 * share:.0f} % of the reference's {spanned}; "
        f"a comparison needs {100 * LEAST_COVERAGE:.0f} %"
    )
    return CommonMeans(None, (), reason)


def _largest_gap(measured: Sequence[Curve], reference: Sequence[Curve], rates: RatePoint) -> str:
    grid = np.linspace(*rates, GAP_RATES)
    here, there = (np.mean([interpolate(curve)(grid) for curve in side], axis=0) for side in (measured, reference))
    index = int(np.argmax(np.abs(here - there)))
    return f"{difference(here[index] - there[index])} at the rate {significant(grid[index])}"


def summary(checks: Sequence[Check]) -> str:
    """Return the number of checks by outcome, such as "2 passed and 1 failed"."""
    outcomes = [check.outcome for check in checks]
    kinds: tuple[CheckOutcome, ...] = ("passed", "failed", "undecided", "skipped")
    return listed([f"{outcomes.count(kind)} {kind}" for kind in kinds if kind in outcomes])


def agrees(checks: Sequence[Check]) -> bool:
    """Whether a sweep agrees with its reference: at least one check passed, and none failed or is undecided."""
    outcomes = {check.outcome for check in checks}
    return "passed" in outcomes and outcomes <= {"passed", "skipped"}
