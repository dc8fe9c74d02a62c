"""The tables of a report as text, the same for HTML and Markdown."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from evaluation import compute
from evaluation.metrics.catalogue import QUANTITIES
from evaluation.operating_points import beta_range_text, beta_text
from evaluation.report.content.series import run_of
from evaluation.report.formatting import between, counted, duration, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evaluation.compute import Spent
    from evaluation.metrics.catalogue import Quantity
    from evaluation.records import Point
    from evaluation.report.content.contents import RateChoice, SweepRecord, TrialRecord
    from evaluation.report.content.series import SeedCurve, Series

SHORT_ID = 8
MOST_ROWS = 2000
"""The largest number of rows in a table; a CSV file beside the report has all of them."""
NONE = "–"
OTHER_PHASES = ("metrics", "along", "compile", "data", "checkpoint", compute.FURTHER)


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and if there are any a remark below it, its full text and a web address."""

    text: str
    note: str = ""
    title: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """Column heads and rows of cells; `words` are the columns of words rather than numbers.

    `note` says which rows are left out and where they are; empty if none are.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[str] = frozenset(("method", "trial", "state", "message", "remark", "value", "tracking"))
    note: str = ""


def methods_table(series: Sequence[Series]) -> Table:
    """Return one row for each series: its costs, summed over the seeds, and its results, averaged over the seeds."""
    columns: dict[str, Callable[[Series], str | Cell]] = {
        "method": lambda one: one.name,
        "trials": _trials,
        "parameters": lambda one: " to ".join(f"{count:,}" for count in one.parameters) or NONE,
        "train": lambda one: _time(one.spent, phases=("train",)),
        "evaluate": lambda one: _time(one.spent, phases=("evaluate",)),
        "other": lambda one: _time(one.spent, phases=OTHER_PHASES),
        "lost": lambda one: _time(one.spent, useful=False),
        "FLOPs": lambda one: _flops(one.spent),
        "energy": lambda one: _energy(one.spent),
        "mean distortion": lambda one: _over_seeds([seed.mean_distortion for seed in one.seeds], 4),
        "hypervolume": lambda one: _over_seeds([seed.hypervolume for seed in one.seeds]),
        "at the same β": lambda one: _over_seeds([seed.hypervolume_same_betas for seed in one.seeds]),
        "active units": lambda one: _units([seed.active_units for seed in one.seeds]),
    }
    if all(piece.joules is None for one in series for piece in one.spent):
        del columns["energy"]
    return _long_table(columns, series, len(series), "the first", "seeds.csv has the seeds of all series")


def seeds_table(series: Sequence[Series]) -> Table:
    """Return one row for each series and seed: the numbers that the methods table averages."""
    columns: dict[str, Callable[[tuple[Series, SeedCurve]], str]] = {
        "method": lambda row: row[0].name,
        "seed": lambda row: str(row[1].seed),
        "trials done": lambda row: f"{row[1].done} of {row[1].trials}",
        "points": lambda row: str(len(row[1].points)),
        "rates": lambda row: between([rate for rate, _ in row[1].pairs]) if row[1].points else NONE,
        "device time": lambda row: _time(row[1].spent),
        "lost": lambda row: _time(row[1].spent, useful=False),
        "mean distortion": lambda row: _optional(row[1].mean_distortion, 4),
        "hypervolume": lambda row: _optional(row[1].hypervolume),
        "at the same β": lambda row: _optional(row[1].hypervolume_same_betas),
        "remark": lambda row: row[1].reason,
    }
    rows = [(one, seed) for one in series for seed in one.seeds]
    return _long_table(columns, rows, len(rows), "the first", "seeds.csv has all rows")


def choices_table(sweep: SweepRecord) -> Table:
    """Return one row for each choice of a learning rate: the candidates, their mean losses and their device time."""
    tried = {trial.trial_id: trial for trial in sweep.tried}

    def took(choice: RateChoice) -> str:
        runs = [run_of(tried[trial_id]) for trial_id in choice.trial_ids if trial_id in tried]
        pieces = [piece for run in runs for piece in compute.spent(run)]
        # Failed candidates count too.
        return _time([replace(piece, useful=True) for piece in pieces]) if pieces else NONE

    columns: dict[str, Callable[[RateChoice], str | Cell]] = {
        "method": lambda choice: choice.series,
        "learning rate": lambda choice: NONE if choice.chosen is None else significant(choice.chosen, 2),
        "tried, with mean loss": lambda choice: ", ".join(_tried(rate, loss) for rate, loss in choice.losses),
        "compared by": lambda choice: choice.rule,
        "device time of the other trials": took,
    }
    table = _table(columns, sweep.choices)
    return replace(table, words=table.words | {"tried, with mean loss", "compared by"})


def _tried(rate: float, loss: float | None) -> str:
    if loss is None:
        return f"{rate:g}: not finished"
    return f"{rate:g}: {'failed' if loss == math.inf else significant(loss, 4)}"


def trials_table(trials: Sequence[TrialRecord]) -> Table:
    """Return one row for each trial; if there are too many, those that are not done come first."""
    if len(trials) > MOST_ROWS:
        trials = sorted(trials, key=lambda trial: trial.done)
    columns: dict[str, Callable[[TrialRecord], str | Cell]] = {
        "trial": lambda trial: Cell(trial.trial_id[:SHORT_ID], title=trial.trial_id),
        "method": lambda trial: trial.series,
        "β": lambda trial: beta_range_text(trial.betas),
        "seed": lambda trial: str(trial.seed),
        "state": lambda trial: trial.state,
        "attempts": lambda trial: str(trial.attempts),
        "epochs": lambda trial: str(len(trial.history)),
        "device time": lambda trial: _time(compute.spent(run_of(trial))),
        "lost": lambda trial: _time(compute.spent(run_of(trial)), useful=False),
        "tracking": lambda trial: Cell("open", link=link) if (link := web_address(trial.tracking_url)) else NONE,
        "message": lambda trial: trial.message,
    }
    return _long_table(columns, trials, len(trials), "those not done first", "trials.csv has all rows")


def points_table(trials: Sequence[TrialRecord]) -> Table:
    """Return one row for each operating point, with a column for each metric that is measured at a shown point."""
    columns: dict[str, Callable[[tuple[TrialRecord, Point]], str]] = {
        "method": lambda row: row[0].series,
        "seed": lambda row: str(row[0].seed),
        "β": lambda row: beta_text(row[1].betas),
        "rate, nats": lambda row: significant(row[1].rate_nats, 4),
        "distortion": lambda row: significant(row[1].distortion, 4),
        "ELBO": lambda row: significant(row[1].elbo, 4),
        **{quantity.heading: _measured(quantity) for quantity in QUANTITIES},
    }
    rows = ((trial, point) for trial in trials for point in trial.points)
    count = sum(len(trial.points) for trial in trials)
    return without_empty(_long_table(columns, rows, count, "the first", "points.csv has all rows"))


def _measured(quantity: Quantity) -> Callable[[tuple[TrialRecord, Point]], str]:
    def write(row: tuple[TrialRecord, Point]) -> str:
        value = row[1].metrics.get(quantity.column)
        return str(value) if isinstance(value, int) else _optional(value, quantity.digits)

    return write


def without_empty(table: Table) -> Table:
    """Return the table without the columns that are empty in every row."""
    filled = [
        index for index in range(len(table.columns)) if any(row[index].text not in {NONE, ""} for row in table.rows)
    ]
    return with_columns(table, filled)


def with_columns(table: Table, kept: Sequence[int]) -> Table:
    """Return the table with only the columns at these indices."""
    columns = tuple(table.columns[index] for index in kept)
    return replace(table, columns=columns, rows=tuple(tuple(row[index] for index in kept) for row in table.rows))


def values_table(records: Iterable[Mapping[str, str] | None], head: str) -> Table:
    """Return one row for each key of the trials' settings or provenance, with its values and their counts."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in (record or {}).items():
            counts.setdefault(key, Counter())[value] += 1
    return Table((head, "value"), tuple((Cell(key), Cell(_values(values))) for key, values in counts.items()))


def web_address(address: str | None) -> str:
    """Return the address if it is http or https, else an empty text: a javascript: link would be code."""
    return address if address and address.startswith(("http://", "https://")) else ""


def _table(columns: Mapping[str, Callable[[Any], str | Cell]], rows: Iterable[Any]) -> Table:
    cells = (tuple(_cell(write(row)) for write in columns.values()) for row in rows)
    return Table(tuple(columns), tuple(cells))


def _long_table(
    columns: Mapping[str, Callable[[Any], str | Cell]], rows: Iterable[Any], count: int, which: str, where: str
) -> Table:
    """Return a table of the first `MOST_ROWS` rows, with a note if there are more."""
    note = f"{MOST_ROWS:,} of {count:,} rows are shown, {which}; {where}." if count > MOST_ROWS else ""
    return replace(_table(columns, islice(rows, MOST_ROWS)), note=note)


def _cell(content: str | Cell) -> Cell:
    return content if isinstance(content, Cell) else Cell(content)


def _values(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({counted(count, 'trial')})" for value, count in values.most_common())


def _trials(series: Series) -> str:
    sizes = sorted({seed.trials for seed in series.seeds})
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    done, planned = sum(seed.done for seed in series.seeds), sum(seed.trials for seed in series.seeds)
    remark = "" if done == planned else f", {done} done"
    return f"{size} × {len(series.seeds)} seed{'s' if len(series.seeds) > 1 else ''}{remark}"


def _time(pieces: Iterable[Spent], *, useful: bool = True, phases: tuple[str, ...] | None = None) -> str:
    chosen = [piece for piece in pieces if phases is None or piece.phase in phases]
    seconds = compute.device_seconds(chosen, useful=useful)
    if len(seconds) > 1:
        return "; ".join(f"{duration(value)} on {kind}" for kind, value in sorted(seconds.items()))
    return next((duration(value) for value in seconds.values()), "0 s" if chosen or not useful else NONE)


def _flops(pieces: Iterable[Spent]) -> str:
    counted = [piece.flops for piece in pieces if piece.useful and piece.flops is not None]
    return significant(sum(counted), 2) if counted else NONE


def _energy(pieces: Iterable[Spent]) -> str:
    used = [piece.joules for piece in pieces if piece.useful]
    known = [joules for joules in used if joules is not None]
    return f"{significant(sum(known) / 1000)} kJ" if known and len(known) == len(used) else NONE


def _over_seeds(values: Sequence[float | None], digits: int = 3) -> Cell:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Cell(NONE)
    mean, spread = significant(sum(known) / len(known), digits), between(known, digits)
    return Cell(mean) if mean == spread else Cell(mean, note=spread)


def _units(ranges: Sequence[tuple[int, int] | None]) -> str:
    ends = [end for pair in ranges if pair is not None for end in pair]
    if not ends:
        return NONE
    return f"{min(ends)}" if min(ends) == max(ends) else f"{min(ends)} to {max(ends)}"


def _optional(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else significant(value, digits)
