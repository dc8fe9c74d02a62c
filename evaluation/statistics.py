"""Estimates over seeds with Student's t intervals, and the decision by one-sided tests.

A value is the result of one seed, such as a difference of two methods of the same seed. Differences are averaged, and
ratios are averaged as logarithms. Intervals assume that the values, or the logarithms of ratios, of different seeds are
independent and nearly normal; `tests/evaluation/test_coverage.py` measures how often they cover the true value.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

One = TypeVar("One")
Other = TypeVar("Other")
Outcome = Literal["passed", "failed", "undecided"]

LEVEL = 0.95
"""The confidence level of all intervals that are printed beside a number."""
TEST_LEVEL = 0.90
"""The level of the interval that decides a test: its two ends are two one-sided tests at 5 % (Schuirmann 1987)."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a geometric mean, over seeds and its interval; missing values are None, and `reason` says why.

    `seeds` are the numbers of seeds of each dataset.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    seeds: tuple[int, ...] = ()
    reason: str = ""

    @property
    def method(self) -> str:
        """The method of the interval, as a phrase; empty if there is none."""
        if self.low is None:
            return ""
        return f"{100 * self.level:g} % interval of Student’s t over {' + '.join(map(str, self.seeds))} seeds"

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def inverse(self) -> Estimate:
        """Return the estimate of the inverse of a ratio."""
        value, low, high = (None if end is None else 1 / end for end in (self.value, self.high, self.low))
        return replace(self, value=value, low=low, high=high)

    def within(self, tolerance: float) -> Outcome:
        """Return whether the interval is within ± the tolerance (passed), beyond it (failed), or neither."""
        if self.low is None or self.high is None:
            return "undecided"
        if -tolerance <= self.low and self.high <= tolerance:
            return "passed"
        return "failed" if self.low > tolerance or self.high < -tolerance else "undecided"

    def at_most(self, tolerance: float) -> Outcome:
        """Return whether the interval is below the tolerance (passed), above it (failed), or neither."""
        if self.low is None or self.high is None:
            return "undecided"
        if self.high <= tolerance:
            return "passed"
        return "failed" if self.low > tolerance else "undecided"


def mean_estimate(values: Sequence[float], *, level: float = LEVEL) -> Estimate:
    """Return the mean of one value for each seed and its t interval, with n - 1 degrees of freedom.

    Raises:
        ValueError: there is no value, one is not finite, or the level is not between 0 and 1.
    """
    return mean_over_datasets({"": values}, level=level)


def ratio_estimate(values: Sequence[float], *, level: float = LEVEL) -> Estimate:
    """Return the geometric mean of one ratio for each seed, with the t interval of the mean logarithm.

    Raises:
        ValueError: as `mean_estimate`, or a ratio is not above 0.
    """
    return ratio_over_datasets({"": values}, level=level)


def mean_over_datasets(values: Mapping[str, Sequence[float]], *, level: float = LEVEL) -> Estimate:
    """Return the mean over datasets of their means over seeds, and its interval, which applies to these datasets only.

    The variances of the datasets are estimated separately, and the degrees of freedom of their sum are those of Welch
    and Satterthwaite. Datasets must share a scale, as ratios do and distortions do not. A dataset with one seed gives
    no interval.

    Raises:
        ValueError: as `mean_estimate`.
    """
    if not 0 < level < 1:
        raise ValueError(f"the confidence level is {level:g}; it must be between 0 and 1, such as 0.95")
    if not values:
        raise ValueError("there is no dataset; give the values of one or more")
    for name, seeds in values.items():
        _check(name, seeds)
    counts = tuple(len(seeds) for seeds in values.values())
    mean = statistics.fmean(statistics.fmean(seeds) for seeds in values.values())
    lonely = [name for name, seeds in values.items() if len(seeds) == 1]
    if lonely:
        return _without_interval(mean, counts, f"one seed{_on(lonely)} gives no interval; run two or more", level)
    # The squared standard error of each dataset's mean, and of the mean of all.
    errors = [statistics.variance(seeds) / len(seeds) / len(counts) ** 2 for seeds in values.values()]
    error = math.fsum(errors)
    half = t_quantile(_freedom(errors, counts), (1 + level) / 2) * math.sqrt(error) if error else 0.0
    return Estimate(mean, mean - half, mean + half, level, counts)


def ratio_over_datasets(values: Mapping[str, Sequence[float]], *, level: float = LEVEL) -> Estimate:
    """Return the geometric mean over datasets and seeds, and the interval of `mean_over_datasets` for its logarithm.

    Raises:
        ValueError: as `ratio_estimate`.
    """
    for name, seeds in values.items():
        if not all(value > 0 for value in seeds):
            raise ValueError(f"a ratio{_on([name])} is {min(seeds):g}; ratios must be above 0")
    logarithms = {name: [math.log(value) for value in seeds] for name, seeds in values.items()}
    return _converted(mean_over_datasets(logarithms, level=level), math.exp)


def without_interval(estimate: Estimate) -> Estimate:
    """Return the estimate of values to which its interval does not apply."""
    return replace(estimate, low=None, high=None, reason="")


def difference_of_means(measured: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return the difference of the means of two samples, with the t interval of their pooled variance for a test.

    The two are assumed to have the same variance, so that one of them may have a single value.

    Raises:
        ValueError: a sample is empty.
    """
    value = statistics.fmean(measured) - statistics.fmean(reference)
    counts = (len(measured), len(reference))
    freedom = sum(counts) - 2
    if freedom == 0:
        return _without_interval(value, counts, "one seed on each side gives no variance", TEST_LEVEL)
    squares = sum(statistics.variance(side) * (len(side) - 1) for side in (measured, reference) if len(side) > 1)
    error = math.sqrt(squares / freedom * sum(1 / count for count in counts))
    half = t_quantile(freedom, (1 + TEST_LEVEL) / 2) * error
    return Estimate(value, value - half, value + half, TEST_LEVEL, counts)


def t_quantile(freedom: float, probability: float) -> float:
    """Return the quantile of Student's t distribution with these degrees of freedom."""
    # Imported here because scipy is slow to import, and planning needs no quantiles.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def pair_by_seed(one: Mapping[int, One], other: Mapping[int, Other]) -> tuple[tuple[One, Other], ...]:
    """Return the results of the two methods for each seed, by rising seed.

    Raises:
        ValueError: a seed is in one of them only.
    """
    lonely = sorted(one.keys() ^ other.keys())
    if lonely:
        raise ValueError(f"only one of the two methods has seed {lonely[0]}; run it for both, or leave it out")
    return tuple((one[seed], other[seed]) for seed in sorted(one))


def _freedom(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Return the degrees of freedom of a sum of squared standard errors (Satterthwaite 1946)."""
    return sum(errors) ** 2 / sum(error**2 / (count - 1) for error, count in zip(errors, counts, strict=True))


def _without_interval(value: float, seeds: tuple[int, ...], reason: str, level: float) -> Estimate:
    return Estimate(value, level=level, seeds=seeds, reason=reason)


def _converted(estimate: Estimate, convert: Callable[[float], float]) -> Estimate:
    value, low, high = (None if end is None else convert(end) for end in (estimate.value, estimate.low, estimate.high))
    return replace(estimate, value=value, low=low, high=high)


def _check(name: str, values: Sequence[float]) -> None:
    if not values:
        raise ValueError(f"there are no seeds{_on([name])}; leave the dataset out or run it")
    odd = next((value for value in values if not math.isfinite(value)), None)
    if odd is not None:
        raise ValueError(f"a value{_on([name])} is {odd}; leave out the seeds that have no number")


def _on(names: Sequence[str]) -> str:
    return f" on {', '.join(names)}" if any(names) else ""
