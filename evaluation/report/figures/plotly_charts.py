"""The data of the page's charts as JSON values; report.js draws them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from evaluation import compute
from evaluation.curves import pareto_front
from evaluation.operating_points import beta_range_text, beta_text, curve_order, over_beta
from evaluation.report.content.metrics import measured_quantities
from evaluation.report.content.series import grouped, is_finite, pairs_of
from evaluation.report.figures.lines import finite, interpolated, seed_band
from evaluation.report.figures.pictures import picture_data
from evaluation.report.figures.text_samples import text_data
from evaluation.report.formatting import DISTORTION_UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.compute import Spent
    from evaluation.curves import RatePoint
    from evaluation.metrics.catalogue import Quantity
    from evaluation.records import HistoryRow, Point
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.frontier import Line
    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.content.contents import SweepRecord, TrialRecord
    from evaluation.report.content.series import Series

MOST_CURVES = 400
"""The largest number of curves in a chart: more are slow to draw and cannot be told apart."""

MOST_HISTORIES = 500
"""The largest number of trials in the chart of training."""

HISTORY_CURVES = ("elbo", "loss", "distortion", "rate_nats")


def chart_data(sweep: SweepRecord, summary: ReportSummary) -> dict[str, Any]:
    """Return the data of all charts, and the numbers of series and trials left out. Non-finite numbers are null."""
    series = drawn_series(summary)
    names = {one.name for one in series}
    trials = [trial for trial in sweep.trials if trial.series in names]
    histories = [trial for trial in trials if trial.history]
    units = sorted({point.distortion_unit for trial in trials for point in trial.points})
    clock = compute.clock_of(piece for one in summary.series for piece in one.spent)
    return {
        "series": [{"name": one.name, "multirate": one.method == "mr-vae"} for one in series],
        "left_out_series": len(summary.series) - len(series),
        "planes": [_plane(unit, [one.name for one in series], trials) for unit in units],
        "rates": summary.comparison.equal_rates.rates if summary.comparison else summary.scale.rates,
        "frontiers": [_frontier(line) for line in frontier_lines(summary.comparisons) if line.series in names],
        "metrics": metric_curves(trials),
        "compute": [
            _bar(one, piece)
            for one in series
            for piece in compute.compared(one.spent, clock)
            if piece.device_seconds > 0
        ],
        "clock": clock,
        "history": [_history(trial) for trial in histories[:MOST_HISTORIES]],
        "left_out_histories": max(len(histories) - MOST_HISTORIES, 0),
        "pictures": picture_data(trials),
        "texts": text_data(trials),
    }


def drawn_series(summary: ReportSummary) -> list[Series]:
    """Return the series in the charts, in the report's order; those of the headline have priority.

    A series is drawn with all of its seeds or not at all.
    """
    first = (summary.comparison.single, summary.comparison.sweep) if summary.comparison else ()
    drawn: set[str] = set()
    curves = 0
    for one in sorted(summary.series, key=lambda one: one.name not in first):
        if one.name in first or not drawn or curves + len(one.seeds) <= MOST_CURVES:
            drawn.add(one.name)
            curves += len(one.seeds)
    return [one for one in summary.series if one.name in drawn]


def frontier_lines(comparisons: Sequence[Comparison]) -> list[Line]:
    """Return each line once: those of all β-VAE series, and of each MR-VAE in its first comparison.

    An MR-VAE is measured at the β values of the compared sweep, so its line may differ between comparisons.
    """
    lines: dict[tuple[str, int], Line] = {}
    for one in comparisons:
        for line in (*one.frontiers.single, *one.frontiers.sweep):
            lines.setdefault((line.series, line.seed), line)
    return list(lines.values())


def _frontier(line: Line) -> dict[str, Any]:
    return {
        "series": line.series,
        "seed": line.seed,
        "device_seconds": [step.device_seconds for step in line.frontier.steps],
        "qualities": [step.quality for step in line.frontier.steps],
        "reached_by": line.reached_by,
        "spent": line.frontier.device_seconds,
    }


def _plane(unit: str, names: Sequence[str], trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the curves whose distortion is in one unit, their bands, and the Pareto front of all their points."""
    placed = [
        (trial, point)
        for trial in trials
        for point in trial.points
        if point.distortion_unit == unit and is_finite(point)
    ]
    order = {name: index for index, name in enumerate(names)}
    curves = grouped(placed, lambda item: (order[item[0].series], item[0].seed))
    drawn = {key: _columns([point for _, point in curves[key]]) for key in sorted(curves)}
    pairs = [(point.rate_nats, point.distortion) for _, point in placed]
    return {
        "unit": DISTORTION_UNITS.get(unit, unit),
        "curves": [{"series": names[index], "seed": seed, **columns} for (index, seed), columns in drawn.items()],
        "bands": _bands({key: pairs_of([point for _, point in curves[key]]) for key in drawn}, names),
        "front": [pairs[index] for index in pareto_front(pairs)],
    }


def _bands(curves: Mapping[tuple[int, int], Sequence[RatePoint]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the smallest and largest value of each series at the rates that all of its seeds span."""
    seeds = grouped(curves, lambda key: key[0])
    found = ((names[index], seed_band([curves[key] for key in keys])) for index, keys in seeds.items())
    return [
        {"series": name, **{part: values.tolist() for part, values in zip(("rates", "low", "high"), band, strict=True)}}
        for name, band in found
        if band is not None
    ]


def metric_curves(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the values of each measured metric over β, by series and seed, without non-finite values."""
    quantities = measured_quantities([point for trial in trials for point in trial.points])
    curves = {
        key: [point for trial in group for point in trial.points]
        for key, group in grouped(trials, lambda trial: (trial.series, trial.seed)).items()
    }
    return [
        {
            "label": quantity.heading,
            "direction": quantity.direction,
            "curves": [_over_beta(quantity, key, points) for key, points in curves.items()],
        }
        for quantity in quantities
    ]


def _over_beta(quantity: Quantity, key: tuple[str, int], points: Sequence[Point]) -> dict[str, Any]:
    pairs = [
        (beta, value)
        for beta, index in over_beta([point.betas for point in points])
        if (value := points[index].metrics.get(quantity.column)) is not None and math.isfinite(value)
    ]
    return {
        "series": key[0],
        "seed": key[1],
        "betas": [beta for beta, _ in pairs],
        "values": [value for _, value in pairs],
    }


def _columns(points: list[Point]) -> dict[str, Any]:
    points = sorted(points, key=lambda point: curve_order(point.betas))
    rates, distortions = interpolated(pairs_of(points))
    return {
        "line": {"rates": rates.tolist(), "distortions": distortions.tolist()},
        "betas": [beta_text(point.betas) for point in points],
        "rates": [point.rate_nats for point in points],
        "distortions": [point.distortion for point in points],
        "elbos": [finite(point.elbo) for point in points],
        "active_units": [point.metrics.get("active_units") for point in points],
    }


def _bar(series: Series, piece: Spent) -> dict[str, Any]:
    return {
        "series": series.name,
        "phase": piece.phase,
        "device": piece.device_kind,
        "device_seconds": piece.device_seconds / len(series.seeds),
    }


def _history(trial: TrialRecord) -> dict[str, Any]:
    rows: tuple[HistoryRow, ...] = trial.history
    columns = {name: [finite(getattr(row, name)) for row in rows] for name in HISTORY_CURVES}
    return {
        "series": trial.series,
        "seed": trial.seed,
        "betas": beta_range_text(trial.betas),
        "epochs": [row.epoch for row in rows],
        **columns,
    }
