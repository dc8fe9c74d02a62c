"""The records of a report as CSV and Parquet. Floats are written in full precision."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import compute as arrow
from pyarrow import csv as arrow_csv

from evaluation import compute, records
from evaluation.operating_points import to_json
from evaluation.records import Cost, Point
from evaluation.report.content.series import run_of
from evaluation.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.compute import Spent
    from evaluation.report.content.contents import TrialRecord
    from evaluation.report.content.series import SeedCurve, Series

FORMULA = re.compile(r"^([=+\-@\t\r])")
"""How a text begins that a spreadsheet takes for a formula (OWASP, CSV Injection)."""
ANNEALING = "method.annealing"
IN_POINTS = frozenset(("seed", "method.beta", "method.kind", "numerics"))
"""Settings that the columns of points have under other names, or that say nothing of the model."""
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

SEED_COLUMNS = (
    "series",
    "method",
    "seed",
    "trials",
    "done",
    "points",
    "least_rate_nats",
    "largest_rate_nats",
    "distortion_unit",
    "mean_distortion",
    "hypervolume",
    "hypervolume_same_betas",
    "useful_device_seconds",
    "lost_device_seconds",
    "device_kinds",
    "reason",
)


def points_table(trials: Sequence[TrialRecord]) -> pa.Table:
    """Return every operating point as an Arrow table: its series, the columns of the points schema, and settings.

    Settings are texts, by dotted name such as "method.annealing": all that differ between the trials, and the
    annealing.
    """
    measured = [trial for trial in trials if trial.points]
    table = records.to_table(Point, [point for trial in measured for point in trial.points])
    labels: dict[str, list[str | None]] = {"series": [trial.series for trial in measured]}
    labels |= {name: [(trial.settings or {}).get(name) for trial in measured] for name in _telling_settings(measured)}
    lengths = [len(trial.points) for trial in measured]
    columns = {name: pa.chunked_array([_repeated(values, lengths)]) for name, values in labels.items()}
    series = {"series": columns.pop("series")}
    return pa.table(series | {name: table[name] for name in table.column_names} | columns)


def points_csv(points: pa.Table) -> bytes:
    """Return a `points_table` as CSV; list items are separated by spaces."""
    return _csv(points)


def _telling_settings(trials: Sequence[TrialRecord]) -> list[str]:
    """Return the settings in which trials differ, and the annealing; a point has its seed and β already."""
    settings = [trial.settings or {} for trial in trials]
    names = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in names if len({each.get(name) for each in settings}) > 1 or name == ANNEALING]
    return [name for name in differing if name not in IN_POINTS]


def _repeated(values: Sequence[str | None], lengths: Sequence[int]) -> pa.Array:
    return pa.array([value for value, length in zip(values, lengths, strict=True) for _ in range(length)], pa.string())


def costs_csv(trials: Sequence[TrialRecord]) -> bytes:
    """Return every cost row of every attempt, with a column for its series."""
    costs = records.to_table(Cost, [cost for trial in trials for cost in trial.costs])
    series = pa.chunked_array([_repeated([trial.series for trial in trials], [len(trial.costs) for trial in trials])])
    return _csv(pa.table({"series": series} | {name: costs[name] for name in costs.column_names}))


def trials_csv(trials: Sequence[TrialRecord]) -> bytes:
    """Return one row for each trial. Device-seconds are empty if it ran on devices of several kinds."""
    return csv_bytes(TRIAL_COLUMNS, (_trial_row(trial) for trial in trials))


def seeds_csv(series: Sequence[Series]) -> bytes:
    """Return one row for each series and seed: the summaries of its curve, or the reason why it has none.

    Device-seconds are empty if its trials ran on devices of several kinds.
    """
    return csv_bytes(SEED_COLUMNS, (_seed_row(one, seed) for one in series for seed in one.seeds))


def _seed_row(series: Series, seed: SeedCurve) -> tuple[Any, ...]:
    rates = [point.rate_nats for point in seed.points]
    return (
        series.name,
        series.method,
        seed.seed,
        seed.trials,
        seed.done,
        len(seed.points),
        min(rates, default=None),
        max(rates, default=None),
        tuple(sorted({point.distortion_unit for point in seed.points})),
        seed.mean_distortion,
        seed.hypervolume,
        seed.hypervolume_same_betas,
        *_times(seed.spent),
        seed.reason,
    )


def _trial_row(trial: TrialRecord) -> tuple[Any, ...]:
    return (
        trial.trial_id,
        trial.series,
        trial.method,
        trial.seed,
        tuple(map(to_json, trial.betas)),
        trial.state,
        trial.attempts,
        len(trial.history),
        trial.parameters,
        *_times(compute.spent(run_of(trial))),
        trial.message,
        trial.tracking_url,
    )


def _times(pieces: Sequence[Spent]) -> tuple[Any, ...]:
    """Return useful and lost device-seconds, and the kinds of device."""
    return (
        _single(compute.device_seconds(pieces, useful=True)),
        _single(compute.device_seconds(pieces, useful=False)),
        tuple(sorted({piece.device_kind for piece in pieces})),
    )


def _single(seconds: dict[str, float]) -> float | None:
    return sum(seconds.values()) if len(seconds) <= 1 else None


def _csv(table: pa.Table) -> bytes:
    # By Arrow, because there may be hundreds of thousands of rows.
    sink = io.BytesIO()
    options = arrow_csv.WriteOptions(quoting_style="needed", quoting_header="needed")
    arrow_csv.write_csv(pa.table({name: _flat(table[name]) for name in table.column_names}), sink, options)
    return sink.getvalue()


def _cell(value: Any) -> Any:
    if type(value) is str:
        return FORMULA.sub(r"'\1", visible(value))
    # Items are numbers, units or kinds of device.
    return _cell(" ".join(map(str, value))) if type(value) is tuple and value else value


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists of numbers as texts, separated by spaces, texts as `csv_bytes` has them, and numbers unchanged."""
    if pa.types.is_string(column.type):
        return arrow.replace_substring_regex(column, FORMULA.pattern, r"'\1")
    if not pa.types.is_list(column.type):
        return column
    return arrow.binary_join(column.cast(pa.list_(pa.string())), " ")


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as CSV in UTF-8; items of tuples are separated by spaces, and None is empty.

    Control characters in texts are visible. A text that a spreadsheet would take for a formula has an apostrophe before
    it.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()
