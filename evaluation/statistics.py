"""Confidence intervals by the bootstrap over seeds, of one or several datasets, and the probability of improvement.

A unit is the result of one seed: a number, a curve, or the curves of two methods that share the seed (`pair_by_seed`).
Resampling draws whole units, so that the points of a curve stay together and methods stay paired.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Unit = TypeVar("Unit")
One = TypeVar("One")
Other = TypeVar("Other")

DRAWS = 10_000
"""The number of random resamples, drawn if there are more than this many distinct ones."""


@dataclass(frozen=True)
class Estimate:
    """A statistic of all seeds and its percentile bootstrap interval; missing values are None, and `reason` says why.

    `seeds` are the numbers of seeds of each dataset. `resamples` is the number of resamples: all n^n if `exact`, else
    random draws from a fixed generator. `distinct` is the number of distinct resamples, since the order of seeds does
    not matter: with 3 seeds, 10 of 27. With few seeds the interval is coarse, and `method` says so.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    seeds: tuple[int, ...] = ()
    resamples: int = 0
    distinct: int = 0
    exact: bool = False
    reason: str = ""

    @property
    def method(self) -> str:
        """The method of the interval, as a phrase; empty if there is none."""
        if self.low is None:
            return ""
        over = f"{100 * self.level:g} % percentile bootstrap over {' + '.join(map(str, self.seeds))} seeds"
        if not self.exact:
            return f"{over}, {self.resamples:,} random resamples"
        phrase = f"{over}, all {self.resamples:,} resamples, {self.distinct:,} of them different"
        # A resample of one seed over and over has the weight 1/n^n; beyond the tail, nothing is cut off.
        return f"{phrase}: the range of all of them" if self.resamples * _tail(self.level) <= 1 else phrase


def bootstrap(units: Sequence[Unit], statistic: Callable[[Sequence[Unit]], float], *, level: float = 0.95) -> Estimate:
    """Return the statistic of the units, one a seed, and its percentile bootstrap interval (Efron 1979).

    `statistic` must not depend on the order of the units. All n^n resamples are used up to 8 seeds, and random ones for
    more. Less than (1 - `level`) / 2 of them are beyond each end of the interval. One seed gives no interval. With 2 or
    3 seeds a 95 % interval is the whole range of the resamples, and covers less often than its level says: the range of
    three seeds contains the median of their distribution in 3 of 4 cases.

    Raises:
        ValueError: there is no unit, `level` is not between 0 and 1, or the statistic is not finite.
    """
    return bootstrap_over_datasets({"": units}, statistic, level=level)


def bootstrap_over_datasets(
    units: Mapping[str, Sequence[Unit]],
    statistic: Callable[[Sequence[Unit]], float],
    *,
    combine: Callable[[Sequence[float]], float] = fmean,
    level: float = 0.95,
) -> Estimate:
    """Return the combined statistic of several datasets and its interval; seeds are resampled within each dataset.

    This is the stratified bootstrap of Agarwal et al. 2021. Datasets are not resampled, so the interval applies to
    these datasets only. `combine` takes the statistic of each dataset, in the mapping's order. A mean requires a common
    scale, which ratios and probabilities have and distortions do not. One seed on any dataset gives no interval. The
    rest is as in `bootstrap`.

    Raises:
        ValueError: there is no dataset or one without units, `level` is not between 0 and 1, or a statistic is not
            finite.
    """
    if not 0 < level < 1:
        raise ValueError(f"the confidence level is {level:g}; it must be between 0 and 1, such as 0.95")
    if not units:
        raise ValueError("there is no dataset to resample; give the units of one or more")
    value = combine([_value(statistic, list(stratum), name) for name, stratum in units.items()])
    seeds = tuple(len(stratum) for stratum in units.values())
    lonely = [name for name, stratum in units.items() if len(stratum) == 1]
    if lonely:
        where = f" on {', '.join(lonely)}" if any(lonely) else ""
        return Estimate(value, level=level, seeds=seeds, reason=f"one seed{where} gives no interval; run two or more")
    strata = [_resampled(list(stratum), statistic, name) for name, stratum in units.items()]
    combined = _combined(strata, combine)
    low, high = _ends(combined, _tail(level))
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=level,
        seeds=seeds,
        resamples=sum(combined.weights),
        distinct=math.prod(_different(count) for count in seeds),
        exact=combined.exact,
    )


def probability_of_improvement(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the probability that the first method's number is less than the second's, as a statistic to bootstrap.

    Each pair has the numbers of the two methods for one seed. Each number of the first is compared with each of the
    second, and ties count half: the Mann-Whitney statistic over its largest value (Agarwal et al. 2021, section 4.3).
    Less is better, as for distortions; swap the pairs if more is better.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("there is no pair of numbers to compare")
    first, second = (np.asarray(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    less = first[:, None] < second
    equal = first[:, None] == second
    return float((less + 0.5 * equal).mean())


def pair_by_seed(one: Mapping[int, One], other: Mapping[int, Other]) -> tuple[tuple[One, Other], ...]:
    """Return the results of the two methods for each seed, by rising seed.

    Raises:
        ValueError: a seed is in one of them only.
    """
    lonely = sorted(one.keys() ^ other.keys())
    if lonely:
        raise ValueError(f"only one of the two methods has seed {lonely[0]}; run it for both, or leave it out")
    return tuple((one[seed], other[seed]) for seed in sorted(one))


@dataclass(frozen=True)
class _Resamples:
    """The statistic of each distinct resample, and the number of resamples that it represents."""

    values: Sequence[float]
    weights: Sequence[int]
    exact: bool


def _resampled(units: Sequence[Unit], statistic: Callable[[Sequence[Unit]], float], name: str) -> _Resamples:
    """Return the statistic of all resamples of one dataset, or of random ones if there are too many."""
    count = len(units)
    exact = _different(count) <= DRAWS
    draws = itertools.combinations_with_replacement(range(count), count) if exact else _drawn(count)
    # Order does not matter, so each selection of seeds represents all of its orders.
    weighted = [
        (_value(statistic, [units[index] for index in draw], name), _orders(draw) if exact else 1) for draw in draws
    ]
    values, weights = zip(*weighted, strict=True)
    return _Resamples(values, weights, exact)


def _combined(strata: Sequence[_Resamples], combine: Callable[[Sequence[float]], float]) -> _Resamples:
    """Return the combinations of the datasets' resamples, or random ones if there are too many."""
    if math.prod(len(stratum.values) for stratum in strata) <= DRAWS:
        rows = itertools.product(*(stratum.values for stratum in strata))
        weights = [math.prod(row) for row in itertools.product(*(stratum.weights for stratum in strata))]
        return _Resamples([combine(row) for row in rows], weights, all(stratum.exact for stratum in strata))
    random = Random(0)  # noqa: S311 (no secret is drawn)
    drawn = [random.choices(stratum.values, stratum.weights, k=DRAWS) for stratum in strata]
    return _Resamples([combine(row) for row in zip(*drawn, strict=True)], [1] * DRAWS, exact=False)


def _ends(resamples: _Resamples, tail: float) -> tuple[float, float]:
    """Return the narrowest ends, each the value of a resample, with less than `tail` of all resamples beyond."""
    ordered = sorted(zip(resamples.values, resamples.weights, strict=True))
    cut_off = tail * sum(resamples.weights)
    return _end(ordered, cut_off), _end(ordered[::-1], cut_off)


def _end(ordered: Sequence[tuple[float, int]], cut_off: float) -> float:
    counts = itertools.accumulate(weight for _, weight in ordered)
    return next(value for (value, _), count in zip(ordered, counts, strict=True) if count >= cut_off)


def _value(statistic: Callable[[Sequence[Any]], float], units: Sequence[Any], name: str) -> float:
    where = f" of {name}" if name else ""
    if not units:
        raise ValueError(f"there are no seeds{where}; leave the dataset out or run it")
    value = float(statistic(units))
    if not math.isfinite(value):
        raise ValueError(f"the statistic{where} is {value} for a resample; leave out the seeds that have no number")
    return value


def _drawn(count: int) -> list[list[int]]:
    random = Random(0)  # noqa: S311 (as above)
    return [random.choices(range(count), k=count) for _ in range(DRAWS)]


def _different(count: int) -> int:
    return math.comb(2 * count - 1, count)


def _orders(draw: Sequence[int]) -> int:
    return math.factorial(len(draw)) // math.prod(math.factorial(draw.count(index)) for index in set(draw))


def _tail(level: float) -> float:
    # 1 - 0.95 is a little more than 0.05.
    return round((1 - level) / 2, 12)
