"""The metrics that the points of a report have, and their definitions for its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation.metrics.catalogue import CATALOGUE, QUANTITIES
from evaluation.report.formatting import listed, significant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from evaluation.metrics.catalogue import Detail, Quantity
    from evaluation.records import Point


def measured_quantities(points: Sequence[Point]) -> tuple[Quantity, ...]:
    """Return the quantities with a value in at least one point."""
    return tuple(quantity for quantity in QUANTITIES if _values(points, quantity.column))


def metric_definitions(points: Sequence[Point]) -> Iterator[tuple[str, str]]:
    """Yield the heading of each measured quantity, and its meaning with the conditions of its measurement."""
    measured = measured_quantities(points)
    for metric in CATALOGUE.values():
        conditions = _conditions(metric.details, points)
        for quantity in metric.quantities:
            if quantity in measured:
                direction = f" {quantity.direction.capitalize()}." if quantity.better else ""
                yield quantity.heading, f"{quantity.meaning}{direction}{conditions}"


def _conditions(details: Iterable[Detail], points: Sequence[Point]) -> str:
    """Return the conditions of a metric on these points as a sentence; empty without any."""
    conditions = [
        f"{detail.label} {listed([_text(value) for value in sorted(values)])}"
        for detail in details
        if detail.label and (values := _values(points, detail.column))
    ]
    return f" Here: {'; '.join(conditions)}." if conditions else ""


def _values(points: Sequence[Point], column: str) -> set[Any]:
    """Return the different values of a column; this is quick for 200,000 points too."""
    return {point.metrics.get(column) for point in points} - {None}


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else significant(value, 3)
