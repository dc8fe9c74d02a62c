"""The numbers behind the page's charts, as plain JSON values; the drawing is in report.js."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.curves import interpolate, lower_envelope, pareto_front
from evaluation.report.metrics import measured_metrics
from evaluation.report.pictures import picture_data
from evaluation.report.series import grouped, is_finite, pairs_of
from evaluation.report.texts import text_data
from evaluation.report.wording import DISTORTION_UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.compute import Spent
    from evaluation.curves import RatePoint
    from evaluation.records import HistoryRow, Point
    from evaluation.report.comparison import Comparison
    from evaluation.report.contents import SweepRecord, TrialRecord
    from evaluation.report.frontier import Line
    from evaluation.report.metrics import Metric
    from evaluation.report.series import Series
    from evaluation.report.summary import ReportSummary

BAND_RATES = 33
"""At how many evenly spaced rates a band is drawn, besides those of the points."""

MOST_CURVES = 400
"""How many curves a chart draws: with more a browser is slow, and no eye tells them apart."""

MOST_HISTORIES = 500
"""How many trials' training is drawn."""

HISTORY_CURVES = ("elbo", "loss", "distortion", "rate_nats")


def chart_data(sweep: SweepRecord, summary: ReportSummary) -> dict[str, Any]:
    """Return all that the page draws, and what it has no room for. Numbers that are not finite are null."""
    series = drawn_series(summary)
    names = {one.name for one in series}
    trials = [trial for trial in sweep.trials if trial.series in names]
    histories = [trial for trial in trials if trial.history]
    units = sorted({point.distortion_unit for trial in trials for point in trial.points})
    return {
        "series": [{"name": one.name, "multirate": one.method == "mr-vae"} for one in series],
        "left_out_series": len(summary.series) - len(series),
        "planes": [_plane(unit, [one.name for one in series], trials) for unit in units],
        "rates": summary.scale.rates,
        "frontiers": [_frontier(line) for line in frontier_lines(summary.comparisons) if line.series in names],
        "metrics": metric_curves(trials),
        "compute": [_bar(one.name, piece) for one in series for piece in one.spent if piece.device_seconds > 0],
        "history": [_history(trial) for trial in histories[:MOST_HISTORIES]],
        "left_out_histories": max(len(histories) - MOST_HISTORIES, 0),
        "pictures": picture_data(trials),
        "texts": text_data(trials),
    }


def drawn_series(summary: ReportSummary) -> list[Series]:
    """Return the series that the charts have room for, in the report's order: those of the headline before all others.

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
    """Return every line once: those of the β-VAEs of all comparisons, and of each MR-VAE against the first of them.

    An MR-VAE is measured at the β of the sweep that it is set against; against another sweep it may have another line.
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
    """Return the least and the largest seed of every series at the rates that all of its seeds span."""
    seeds = grouped(curves, lambda key: key[0])
    found = ((names[index], seed_band([curves[key] for key in keys])) for index, keys in seeds.items())
    return [{"series": name, "rates": rates, "low": low, "high": high} for name, (rates, low, high) in found if rates]


def seed_band(curves: Sequence[Sequence[RatePoint]]) -> tuple[list[float], list[float], list[float]]:
    """Return rates, and the least and largest of the curves' interpolated lower envelopes there.

    All are empty where there is one curve alone, one that is no curve, or no rate that all span.
    """
    envelopes = [lower_envelope(curve) for curve in curves]
    if len(curves) < 2 or min(map(len, envelopes)) < 2:  # noqa: PLR2004 (two curves of two ends)
        return [], [], []
    low, high = max(envelope[0][0] for envelope in envelopes), min(envelope[-1][0] for envelope in envelopes)
    if not low < high:
        return [], [], []
    # Where points are is where curves bend.
    bends = [rate for envelope in envelopes for rate, _ in envelope if low < rate < high]
    rates = sorted({*np.linspace(low, high, BAND_RATES).tolist(), *bends})
    heights = np.stack([interpolate(curve)(rates) for curve in curves])
    return rates, heights.min(0).tolist(), heights.max(0).tolist()


def metric_curves(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return every metric that some point has, over β, by series and seed; values that are not finite are left out."""
    metrics = measured_metrics([point for trial in trials for point in trial.points])
    curves = {
        key: sorted((point for trial in group for point in trial.points), key=lambda point: point.betas)
        for key, group in grouped(trials, lambda trial: (trial.series, trial.seed)).items()
    }
    return [
        {
            "label": metric.label,
            "direction": metric.direction,
            "curves": [_over_beta(metric, key, points) for key, points in curves.items()],
        }
        for metric in metrics
    ]


def _over_beta(metric: Metric, key: tuple[str, int], points: Sequence[Point]) -> dict[str, Any]:
    pairs = [
        (point.beta, value) for point in points if (value := metric.of(point)) is not None and math.isfinite(value)
    ]
    return {
        "series": key[0],
        "seed": key[1],
        "betas": [beta for beta, _ in pairs],
        "values": [value for _, value in pairs],
    }


def _columns(points: list[Point]) -> dict[str, Any]:
    points = sorted(points, key=lambda point: point.betas)
    return {
        "betas": [point.beta for point in points],
        "rates": [point.rate_nats for point in points],
        "distortions": [point.distortion for point in points],
        "elbos": [_number(point.elbo) for point in points],
        "active_units": [point.active_units for point in points],
    }


def _bar(series: str, piece: Spent) -> dict[str, Any]:
    return {
        "series": series,
        "phase": piece.phase if piece.phase in ("train", "evaluate") else "other",
        "device": piece.device_kind,
        "useful": piece.useful,
        "device_seconds": piece.device_seconds,
    }


def _history(trial: TrialRecord) -> dict[str, Any]:
    rows: tuple[HistoryRow, ...] = trial.history
    columns = {name: [_number(getattr(row, name)) for row in rows] for name in HISTORY_CURVES}
    return {
        "series": trial.series,
        "seed": trial.seed,
        "betas": trial.betas,
        "epochs": [row.epoch for row in rows],
        **columns,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
