"""The tables of a report that compare an MR-VAE with sweeps of β-VAEs: over all seeds, and by seed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from evaluation.report.formatting import difference, interval, listed, percent, percent_change, share_difference, times
from evaluation.report.tables.text_tables import NONE, Cell, Table, without_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.over_seeds import OverSeeds
    from evaluation.statistics import Estimate


@dataclass(frozen=True)
class _Column:
    head: str
    of: Callable[[Comparison], OverSeeds]
    write: Callable[[float], str]


COLUMNS = (
    _Column("times cheaper", lambda one: one.times_cheaper, times),
    _Column("distortion, equal rates", lambda one: one.distortion, difference),
    _Column("BD-distortion", lambda one: one.bd_distortion, difference),
    _Column("BD-rate", lambda one: one.bd_rate, lambda value: percent_change(value / 100)),
    _Column("training, equal quality", lambda one: one.equal_quality, times),
    _Column("quality, equal training", lambda one: one.equal_compute, share_difference),
)
WORDS = frozenset(("method", "against", "remark"))


def comparisons_table(comparisons: Sequence[Comparison]) -> Table:
    """Return one row for each pair of series: the numbers with their intervals, and the reasons for missing ones."""
    heads = ("method", "against", *(column.head for column in COLUMNS), "remark")
    return without_empty(Table(heads, tuple(_row(one) for one in comparisons), words=WORDS))


def comparisons_by_seed(comparisons: Sequence[Comparison]) -> Table:
    """Return one row for each pair of series and seed, with the numbers of this seed."""
    heads = ("method", "against", "seed", *(column.head for column in COLUMNS))
    rows = [
        (Cell(one.single), Cell(one.sweep), Cell(str(seed)), *(_of_seed(column, one, index) for column in COLUMNS))
        for one in comparisons
        for index, seed in enumerate(one.seeds)
    ]
    return without_empty(Table(heads, tuple(rows), words=WORDS))


def _row(one: Comparison) -> tuple[Cell, ...]:
    numbers = (_number(column.of(one).estimate, column.write, _level(column, one)) for column in COLUMNS)
    return (Cell(one.single), Cell(one.sweep), *numbers, Cell(_remark(one)))


def _number(estimate: Estimate, write: Callable[[float], str], level: str) -> Cell:
    if estimate.value is None:
        return Cell(NONE)
    return Cell(write(estimate.value), note="; ".join(filter(None, (interval(estimate, write), level))))


def _level(column: _Column, one: Comparison) -> str:
    """Return a remark on a number besides its interval."""
    if column.of(one) is one.distortion and one.equal_rates.reached:
        return f"{percent(fmean(one.equal_rates.reached))} of the rates"
    if column.of(one) is one.bd_distortion and one.bd_overlap is not None:
        return f"{percent(one.bd_overlap)} of the rates"
    return ""


def _of_seed(column: _Column, one: Comparison, index: int) -> Cell:
    values = column.of(one).values
    return Cell(column.write(values[index]) if values else NONE)


def _remark(one: Comparison) -> str:
    lacking: dict[str, list[str]] = {}
    for column in COLUMNS:
        if column.of(one).reason:
            lacking.setdefault(column.of(one).reason, []).append(column.head)
    reasons = [f"no {listed(heads)}: {reason}" for reason, heads in lacking.items()]
    return "; ".join([one.cost.remark, *reasons] if one.cost.remark else reasons)
