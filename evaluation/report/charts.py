"""The numbers behind the page's charts, as plain JSON values; the drawing is in report.js."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from evaluation.curves import pareto_front
from evaluation.report.pictures import picture_data
from evaluation.report.series import is_finite
from evaluation.report.texts import text_data
from evaluation.report.wording import DISTORTION_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.compute import Spent
    from evaluation.records import HistoryRow, Point
    from evaluation.report.contents import SweepRecord, TrialRecord
    from evaluation.report.summary import ReportSummary

HISTORY_CURVES = ("elbo", "loss", "distortion", "rate_nats")


def chart_data(sweep: SweepRecord, summary: ReportSummary) -> dict[str, Any]:
    """Return all that the page draws. Numbers that are not finite are null."""
    units = sorted({point.distortion_unit for trial in sweep.trials for point in trial.points})
    return {
        "series": [{"name": one.name, "multirate": one.method == "mr-vae"} for one in summary.series],
        "planes": [_plane(unit, [one.name for one in summary.series], sweep.trials) for unit in units],
        "rates": summary.scale.rates,
        "compute": [_bar(one.name, piece) for one in summary.series for piece in one.spent if piece.device_seconds > 0],
        "history": [_history(trial) for trial in sweep.trials if trial.history],
        "pictures": picture_data(sweep.trials),
        "texts": text_data(sweep.trials),
    }


def _plane(unit: str, names: Sequence[str], trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the curves whose distortion is in one unit, and the Pareto front of all their points."""
    placed = [
        (trial, point)
        for trial in trials
        for point in trial.points
        if point.distortion_unit == unit and is_finite(point)
    ]
    pairs = [(point.rate_nats, point.distortion) for _, point in placed]
    curves = sorted({(names.index(trial.series), trial.seed) for trial, _ in placed})
    return {
        "unit": DISTORTION_UNITS.get(unit, unit),
        "curves": [
            {
                "series": names[index],
                "seed": seed,
                **_columns([point for trial, point in placed if (trial.series, trial.seed) == (names[index], seed)]),
            }
            for index, seed in curves
        ],
        "front": [pairs[index] for index in pareto_front(pairs)],
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
