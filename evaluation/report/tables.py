"""The records behind a report as CSV and Parquet. Floats are written so that they read back the same."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from evaluation import compute, records
from evaluation.records import Cost, Point
from evaluation.report.series import run_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.report.contents import TrialRecord

TRIAL_COLUMNS = (
    "trial_id",
    "series",
    "method",
    "seed",
    "betas",
    "state",
    "attempts",
    "epochs",
    "parameters",
    "useful_device_seconds",
    "lost_device_seconds",
    "device_kinds",
    "message",
    "tracking_url",
)


def points_csv(trials: Sequence[TrialRecord]) -> bytes:
    """Return every operating point, after the label of its series; lists are separated by spaces."""
    return _csv(
        ("series", *(field.name for field in fields(Point))),
        ((trial.series, *asdict(point).values()) for trial in trials for point in trial.points),
    )


def costs_csv(trials: Sequence[TrialRecord]) -> bytes:
    """Return every cost row of every attempt, after the label of its series."""
    return _csv(
        ("series", *(field.name for field in fields(Cost))),
        ((trial.series, *asdict(cost).values()) for trial in trials for cost in trial.costs),
    )


def trials_csv(trials: Sequence[TrialRecord]) -> bytes:
    """Return one row a trial. Device-seconds are empty where the trial ran on devices of several kinds."""
    return _csv(TRIAL_COLUMNS, (_trial_row(trial) for trial in trials))


def points_parquet(trials: Sequence[TrialRecord]) -> bytes:
    """Return every operating point as one Parquet file of the points schema."""
    return records.to_parquet(Point, [point for trial in trials for point in trial.points])


def _trial_row(trial: TrialRecord) -> tuple[Any, ...]:
    pieces = compute.spent(run_of(trial))
    return (
        trial.trial_id,
        trial.series,
        trial.method,
        trial.seed,
        trial.betas,
        trial.state,
        trial.attempts,
        len(trial.history),
        trial.parameters,
        _single(compute.device_seconds(pieces, useful=True)),
        _single(compute.device_seconds(pieces, useful=False)),
        tuple(sorted({piece.device_kind for piece in pieces})),
        trial.message,
        trial.tracking_url,
    )


def _single(seconds: dict[str, float]) -> float | None:
    return sum(seconds.values()) if len(seconds) <= 1 else None


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return value
