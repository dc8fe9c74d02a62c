"""Figures for papers: rate-distortion curves, metrics against β, and device time.

Every seed is a thin line. With several seeds, a thick line with markers goes through the mean points at each common β,
and a band spans the smallest to the largest seed. Figures have no title.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.compute import clock_of, compared
from evaluation.metrics.catalogue import QUANTITIES
from evaluation.report.figures.lines import (
    band,
    finite,
    interpolated,
    mean_points,
    metric_lines,
    plane_lines,
    seed_band,
)
from evaluation.report.figures.style import (
    COLUMN_INCHES,
    PHASES,
    TEXT_INCHES,
    add_legend,
    add_phases,
    bar_style,
    count_in_whole_numbers,
    label,
    looks_of,
    mark_betas,
    new_figure,
    saved,
    style,
    wrapped,
)
from evaluation.report.formatting import DISTORTION_UNITS, SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evaluation.compute import Clock, Spent
    from evaluation.metrics.catalogue import Quantity
    from evaluation.report.content.series import Series
    from evaluation.report.figures.lines import Line, Place
    from evaluation.report.figures.style import Kind, Look

WIDTHS_INCHES = {"": COLUMN_INCHES, "-wide": TEXT_INCHES}
"""The widths of one and two columns of a paper, by suffix of the file name."""

PANELS_PER_ROW = 3
PANEL_INCHES = 2.1
BAR_LABEL_CHARACTERS = 24


def render_figures(series: Sequence[Series], kind: Kind) -> dict[str, bytes]:
    """Return the figures of a sweep by file name, each for one column and for two.

    These are the rate-distortion curves, one figure for each unit of distortion; every measured metric against β; and
    the device time of every series. Empty figures are left out.
    """
    with style():
        return {
            f"{name}{suffix}.{kind}": _drawn(width, draw, kind)
            for name, draw in _figures(series)
            for suffix, width in WIDTHS_INCHES.items()
        }


def render_small_multiples(panels: Mapping[str, Sequence[Series]], kind: Kind) -> bytes:
    """Return the rate-distortion curves of several sweeps as panels of one figure, two columns wide.

    A series has the same look in all panels. Each panel has its own axes and one unit of distortion.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("there is no sweep to draw; give the series of one or more")
    looks = looks_of(list(dict.fromkeys(one.name for series in panels.values() for one in series)))
    rows = math.ceil(len(panels) / PANELS_PER_ROW)
    columns = math.ceil(len(panels) / rows)
    with style():
        figure = new_figure(TEXT_INCHES, PANEL_INCHES * rows)
        bands = [
            _draw_panel(figure.add_subplot(rows, columns, place), title, series, looks)
            for place, (title, series) in enumerate(panels.items(), start=1)
        ]
        add_legend(figure, looks, bands=any(bands))
        return saved(figure, kind)


def _figures(series: Sequence[Series]) -> Iterator[tuple[str, Callable[[Figure], None]]]:
    points = [point for one in series for seed in one.seeds for point in seed.points]
    units = sorted({point.distortion_unit for point in points})
    for unit in units:
        name = "rate-distortion" if len(units) == 1 else f"rate-distortion-{unit}"
        yield name, partial(_draw_plane, series=series, unit=unit)
    for quantity in QUANTITIES:
        if any(finite(point.metrics.get(quantity.column)) is not None for point in points):
            name = quantity.column.removesuffix("_nats").removesuffix("_db").replace("_", "-")
            yield name, partial(_draw_metric, series=series, quantity=quantity)
    clock = clock_of(piece for one in series for piece in one.spent)
    spent = {one.name: _of_a_seed(one, clock) for one in series}
    if any(_by_device(pieces) for pieces in spent.values()):
        yield "cost", partial(_draw_compute, spent=spent, clock=clock)


def _drawn(width: float, draw: Callable[[Figure], None], kind: Kind) -> bytes:
    figure = new_figure(width, 0.4 * width + 0.9)
    draw(figure)
    return saved(figure, kind)


def _draw_plane(figure: Figure, series: Sequence[Series], unit: str) -> None:
    axes = figure.add_subplot()
    lines = {one.name: plane_lines(one, unit) for one in series}
    label(axes, "rate (nats)", f"distortion ({DISTORTION_UNITS.get(unit, unit)})")
    _draw_series(figure, axes, lines, _draw_plane_curves)


def _draw_metric(figure: Figure, series: Sequence[Series], quantity: Quantity) -> None:
    axes = figure.add_subplot()
    axes.set_xscale("log")
    label(axes, "β", f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label)
    lines = {one.name: metric_lines(one, quantity) for one in series}
    _draw_series(figure, axes, lines, _draw_metric_curves)
    if all(value.is_integer() for seeds in lines.values() for line in seeds for value in line.y.tolist()):
        count_in_whole_numbers(axes.yaxis)
    mark_betas(axes.xaxis)


def _draw_series(
    figure: Figure,
    axes: Axes,
    lines: Mapping[str, Sequence[Line]],
    draw: Callable[[Axes, Sequence[Line], Look], bool],
) -> None:
    """Draw the lines of every series with points, in the same look in all figures of the sweep."""
    looks = {name: look for name, look in looks_of(list(lines)).items() if lines[name]}
    bands = [draw(axes, lines[name], look) for name, look in looks.items()]
    add_legend(figure, looks, bands=any(bands))


def _draw_panel(axes: Axes, title: str, series: Sequence[Series], looks: Mapping[str, Look]) -> bool:
    unit = next((point.distortion_unit for one in series for seed in one.seeds for point in seed.points), "nats")
    lines = {one.name: plane_lines(one, unit) for one in series}
    bands = [_draw_plane_curves(axes, lines[name], looks[name]) for name in lines if lines[name]]
    # A panel is too narrow for the full name.
    short = {"sse": "squared error"}.get(unit, DISTORTION_UNITS.get(unit, unit))
    label(axes, "rate (nats)", f"distortion ({short})")
    # The name of the panel, not a title of the figure.
    axes.set_title(wrapped(title, 30), fontsize=7, loc="left")
    return any(bands)


def _draw_plane_curves(axes: Axes, lines: Sequence[Line], look: Look) -> bool:
    """Draw a series in the rate-distortion plane, and return whether it has a band."""
    curves = [list(zip(line.x.tolist(), line.y.tolist(), strict=True)) for line in lines]
    return _draw_curves(axes, curves, mean_points(lines), look, interpolated, seed_band(curves))


def _draw_metric_curves(axes: Axes, lines: Sequence[Line], look: Look) -> bool:
    """Draw a metric of a series over β, and return whether it has a band."""
    curves = [list(zip(line.x.tolist(), line.y.tolist(), strict=True)) for line in lines]
    between = band(lines, np.log) if len(lines) > 1 else None
    return _draw_curves(axes, curves, mean_points(lines), look, lambda curve: zip(*curve, strict=True), between)


def _draw_curves(
    axes: Axes,
    curves: Sequence[Sequence[Place]],
    mean: Sequence[Place],
    look: Look,
    line_of: Callable[[Sequence[Place]], Any],
    between: tuple[Any, Any, Any] | None,
) -> bool:
    """Draw the line and the points of every seed, and with several seeds their mean and the band between them."""
    common: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes}
    points: dict[str, Any] = {"color": look.colour, "linestyle": "none", "marker": look.marker}
    if len(curves) == 1:
        mean = curves[0]
    else:
        for curve in curves:
            # With small markers, since a seed of a single β is a point and no line.
            axes.plot(*line_of(curve), color=look.colour, linewidth=0.5, alpha=0.7)
            axes.plot(*zip(*curve, strict=True), **points, alpha=0.7, markersize=1.5)
    if mean:
        axes.plot(*line_of(mean), zorder=3, **common)
        axes.plot(*zip(*mean, strict=True), zorder=3, **points)
    if between is not None:
        axes.fill_between(*between, color=look.colour, alpha=0.18, linewidth=0, zorder=1)
    return between is not None


def _draw_compute(figure: Figure, spent: Mapping[str, Sequence[Spent]], clock: Clock) -> None:
    bars = [bar for name, pieces in spent.items() for bar in _bars(name, pieces)]
    unit, seconds = _time_unit(max(sum(parts.values()) for _, parts in bars))
    axes = figure.add_subplot()
    for row, (_, parts) in enumerate(bars):
        start = 0.0
        for phase in PHASES:
            length = parts.get(phase, 0.0) / seconds
            axes.barh(row, length, left=start, height=0.6, **bar_style(phase))
            start += length
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    label(axes, f"{clock} per seed ({unit})", "")
    axes.grid(visible=False, axis="y")
    figure.set_figheight(0.7 + 0.13 * sum(2 + name.count("\n") for name, _ in bars))
    add_phases(figure, {phase for _, parts in bars for phase, spent in parts.items() if spent > 0})


def _of_a_seed(series: Series, clock: Clock) -> list[Spent]:
    """Return the compared costs of a series, as the mean over its seeds."""
    pieces = compared(series.spent, clock)
    return [replace(piece, device_seconds=piece.device_seconds / len(series.seeds)) for piece in pieces]


def _bars(name: str, pieces: Sequence[Spent]) -> list[tuple[str, dict[str, float]]]:
    devices = _by_device(pieces)
    return [
        (wrapped(f"{name} on {kind}" if len(devices) > 1 else name, BAR_LABEL_CHARACTERS), parts)
        for kind, parts in devices.items()
    ]


def _by_device(pieces: Sequence[Spent]) -> dict[str, dict[str, float]]:
    """Return the device-seconds of each phase by device kind; kinds are never added."""
    found: dict[str, dict[str, float]] = {}
    for piece in pieces:
        parts = found.setdefault(piece.device_kind, {})
        parts[piece.phase] = parts.get(piece.phase, 0.0) + piece.device_seconds
    return {kind: parts for kind, parts in found.items() if sum(parts.values()) > 0}


def _time_unit(longest: float) -> tuple[str, float]:
    if longest < 2 * SECONDS_PER_MINUTE:
        return "s", 1.0
    return ("min", SECONDS_PER_MINUTE) if longest < 2 * SECONDS_PER_HOUR else ("h", SECONDS_PER_HOUR)
