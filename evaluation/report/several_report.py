"""Several sweeps for readers, as HTML, Markdown and LaTeX, and for programs as CSV."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.figures import render_small_multiples
from evaluation.report.latex import latex_table
from evaluation.report.markdown import escape
from evaluation.report.several import lacking
from evaluation.report.sweep_measures import MEASURES
from evaluation.report.tables import csv_bytes
from evaluation.report.text_tables import NONE, Cell, Table
from evaluation.report.wording import counted, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.figure_style import Kind
    from evaluation.report.several import Several
    from evaluation.report.sweep_measures import ComparedSweep, Measure
    from evaluation.statistics import Estimate

FOLDER = Path(__file__).parent
TITLE = "One MR-VAE against sweeps of β-VAEs"

OVERALL = (
    "Over all sweeps: every number has no unit, and only such are averaged. Intervals are 95 % percentile bootstrap "
    "over the seeds, resampled within each sweep and paired between methods; sweeps are not resampled, so they speak "
    "for these sweeps only (Agarwal et al. 2021). A sweep of one seed has no interval, and leaves none over all."
)


def several_table(several: Several) -> Table:
    """Return one row a compared sweep and a last one over all; intervals stand below the numbers."""
    columns = ("sweep", *(measure.head for measure in MEASURES))
    rows = [_row(several, sweep) for sweep in several.compared]
    if rows:
        rows.append(_overall_row(several))
    return Table(columns, tuple(rows), frozenset(("sweep",)))


def several_html(several: Several) -> str:
    """Return the comparison as one HTML page that runs no script, loads nothing and works offline."""
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("several.html").render(
        title=TITLE,
        several=several,
        table=several_table(several),
        lacking=lacking(several),
        figure=_data_address(several_figure(several, "svg")) if several.compared else "",
        overall=OVERALL,
        measures=MEASURES,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
    )


def several_markdown(several: Several) -> str:
    """Return the comparison as Markdown: the sentences and the table of the page, without its figure."""
    definitions = "\n".join(f"- **{escape(measure.head)}**: {escape(measure.meaning)}" for measure in MEASURES)
    parts = [
        f"# {TITLE}",
        f"**{escape(several.headline)}**",
        "\n".join(f"- {escape(note)}" for note in several.notes),
        _markdown_table(several_table(several)),
        _section("What is missing", "\n".join(f"- {escape(sentence)}" for sentence in lacking(several))),
        _section("How to read this", f"{escape(OVERALL)}\n\n{definitions}"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def several_latex(several: Several) -> bytes:
    """Return the table in LaTeX."""
    caption = f"{several.headline} {' '.join(several.notes)} {OVERALL}"
    return latex_table(several_table(several), caption, "sweeps")


def several_figure(several: Several, kind: Kind) -> bytes:
    """Return the rate-distortion curves of every compared sweep, as panels of one figure."""
    return render_small_multiples({sweep.name: sweep.series for sweep in several.compared}, kind)


def several_csv(several: Several) -> bytes:
    """Return one row a sweep and a last one over all, with every number, its interval, and why there is none.

    `kind` is sweep, left out or overall. Numbers are in full, shares as fractions.
    """
    numbers = [f"{measure.name}{part}" for measure in MEASURES for part in ("", "_low", "_high")]
    columns = ("kind", "sweep", "dataset", "architecture", "seeds", "distortion_unit", "single", "against", *numbers)
    rows = [_csv_row(several, sweep) for sweep in several.compared]
    rows += [("left out", name, *[None] * (len(columns) - 2), reason) for name, reason in several.left_out]
    if several.compared:
        estimates = [several.overall.get(measure.name) for measure in MEASURES]
        rows.append(("overall", *[None] * 7, *_numbers(estimates), ""))
    return csv_bytes((*columns, "reason"), rows)


def _csv_row(several: Several, sweep: ComparedSweep) -> tuple[Any, ...]:
    estimates = [several.estimates[sweep.name][measure.name] for measure in MEASURES]
    reasons = dict.fromkeys(estimate.reason for estimate in estimates if estimate.reason)
    return (
        "sweep",
        sweep.name,
        sweep.record.dataset,
        sweep.record.architecture,
        len(sweep.comparison.seeds),
        sweep.summary.scale.unit,
        sweep.comparison.single,
        sweep.comparison.sweep,
        *_numbers(estimates),
        "; ".join(reasons),
    )


def _numbers(estimates: Sequence[Estimate | None]) -> list[float | None]:
    return [
        number
        for estimate in estimates
        for number in ((estimate.value, estimate.low, estimate.high) if estimate else (None, None, None))
    ]


def _row(several: Several, sweep: ComparedSweep) -> tuple[Cell, ...]:
    estimates = several.estimates[sweep.name]
    cells = [_cell(measure, estimates[measure.name], sweep) for measure in MEASURES]
    return (Cell(sweep.name, note=_about(sweep)), *cells)


def _about(sweep: ComparedSweep) -> str:
    record, comparison = sweep.record, sweep.comparison
    rival = f"{comparison.sweep}, the best of {comparison.sweeps}" if comparison.sweeps > 1 else comparison.sweep
    seeds = counted(len(comparison.seeds), "seed")
    return f"{record.dataset} · {record.architecture} · {comparison.single} against {rival} · {seeds}"


def _cell(measure: Measure, estimate: Estimate, sweep: ComparedSweep) -> Cell:
    if estimate.value is None:
        return Cell(NONE, title=estimate.reason)
    unit = f" {sweep.summary.scale.unit}" if measure.combine is None else ""
    notes = [interval(estimate, measure.write), measure.beside(sweep)]
    return Cell(f"{measure.write(estimate.value)}{unit}", note="; ".join(filter(None, notes)))


def _overall_row(several: Several) -> tuple[Cell, ...]:
    return (Cell("all sweeps"), *(_overall_cell(several, measure) for measure in MEASURES))


def _overall_cell(several: Several, measure: Measure) -> Cell:
    estimate = several.overall.get(measure.name)
    if estimate is None or estimate.value is None:
        return Cell(NONE)
    over, compared = len(several.over[measure.name]), len(several.compared)
    notes = [interval(estimate, measure.write), "" if over == compared else f"of {counted(over, 'sweep')}"]
    return Cell(measure.write(estimate.value), note="; ".join(filter(None, notes)), title=estimate.method)


def _markdown_table(table: Table) -> str:
    if not table.rows:
        return ""
    head = [table.columns, tuple("---" if column in table.words else "---:" for column in table.columns)]
    rows = [[escape(f"{cell.text} ({cell.note})" if cell.note else cell.text) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (*head, *rows))


def _section(title: str, content: str) -> str:
    return f"## {title}\n\n{content}" if content else ""


def _data_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
