"""A comparison of sweeps as HTML, Markdown, LaTeX and CSV."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.report.analysis.sweep_comparison import missing_results
from evaluation.report.analysis.sweep_measures import MEASURES
from evaluation.report.figures.matplotlib_figures import render_small_multiples
from evaluation.report.formatting import counted, interval
from evaluation.report.rendering.latex import latex_table
from evaluation.report.rendering.markdown import escape, markdown_table, section
from evaluation.report.tables.data_tables import csv_bytes
from evaluation.report.tables.text_tables import NONE, Cell, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.report.analysis.sweep_comparison import SweepComparison
    from evaluation.report.analysis.sweep_measures import ComparedSweep, Measure
    from evaluation.report.figures.style import Kind
    from evaluation.statistics import Estimate

FOLDER = Path(__file__).parent
TITLE = "One MR-VAE against sweeps of β-VAEs"

OVERALL = (
    "Over all sweeps, only numbers without a unit are averaged. Intervals (95 %) are those of Student’s t over "
    "seeds, of differences that are paired by seed; those of ratios are of their logarithms. Over all sweeps the "
    "variances of the sweeps are added (Welch and Satterthwaite), so these intervals apply to these sweeps only. If "
    "one sweep has a single seed, there is no interval over all."
)


def sweep_comparison_table(sweep_comparison: SweepComparison) -> Table:
    """Return one row for each compared sweep and a last one over all, with intervals below the numbers."""
    columns = ("sweep", *(measure.head for measure in MEASURES))
    rows = [_row(sweep_comparison, sweep) for sweep in sweep_comparison.compared]
    if rows:
        rows.append((Cell("all sweeps"), *(_overall_cell(sweep_comparison, measure) for measure in MEASURES)))
    return Table(columns, tuple(rows), frozenset(("sweep",)))


def sweep_comparison_html(sweep_comparison: SweepComparison) -> str:
    """Return the comparison as one HTML page that works offline, without scripts."""
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("sweep_comparison.html").render(
        title=TITLE,
        sweep_comparison=sweep_comparison,
        table=sweep_comparison_table(sweep_comparison),
        missing=missing_results(sweep_comparison),
        figure=_data_address(sweep_comparison_figure(sweep_comparison, "svg")) if sweep_comparison.compared else "",
        overall=OVERALL,
        measures=MEASURES,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
    )


def sweep_comparison_markdown(sweep_comparison: SweepComparison) -> str:
    """Return the comparison as Markdown: the page without its figure."""
    definitions = "\n".join(f"- **{escape(measure.head)}**: {escape(measure.meaning)}" for measure in MEASURES)
    parts = [
        f"# {TITLE}",
        f"**{escape(sweep_comparison.headline)}**",
        "\n".join(f"- {escape(note)}" for note in sweep_comparison.notes),
        markdown_table(sweep_comparison_table(sweep_comparison)),
        section(
            "What is missing", "\n".join(f"- {escape(sentence)}" for sentence in missing_results(sweep_comparison))
        ),
        section("How to read this", f"{escape(OVERALL)}\n\n{definitions}"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def sweep_comparison_latex(sweep_comparison: SweepComparison) -> bytes:
    """Return the table in LaTeX."""
    caption = f"{sweep_comparison.headline} {' '.join(sweep_comparison.notes)} {OVERALL}"
    return latex_table(sweep_comparison_table(sweep_comparison), caption, "sweeps")


def sweep_comparison_figure(sweep_comparison: SweepComparison, kind: Kind) -> bytes:
    """Return the rate-distortion curves of every compared sweep, as panels of one figure."""
    return render_small_multiples({sweep.name: sweep.series for sweep in sweep_comparison.compared}, kind)


def sweep_comparison_csv(sweep_comparison: SweepComparison) -> bytes:
    """Return one row for each sweep and a last one over all, with numbers, intervals, and reasons for missing ones.

    `kind` is sweep, left out or overall. Numbers are in full precision, shares are fractions.
    """
    numbers = [f"{measure.name}{part}" for measure in MEASURES for part in ("", "_low", "_high")]
    columns = ("kind", "sweep", "dataset", "architecture", "seeds", "distortion_unit", "single", "against", *numbers)
    rows = [_csv_row(sweep_comparison, sweep) for sweep in sweep_comparison.compared]
    rows += [("left out", name, *[None] * (len(columns) - 2), reason) for name, reason in sweep_comparison.left_out]
    if sweep_comparison.compared:
        estimates = [sweep_comparison.overall.get(measure.name) for measure in MEASURES]
        rows.append(("overall", *[None] * 7, *_numbers(estimates), ""))
    return csv_bytes((*columns, "reason"), rows)


def _csv_row(sweep_comparison: SweepComparison, sweep: ComparedSweep) -> tuple[Any, ...]:
    estimates = [sweep_comparison.estimates[sweep.name][measure.name] for measure in MEASURES]
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


def _row(sweep_comparison: SweepComparison, sweep: ComparedSweep) -> tuple[Cell, ...]:
    estimates = sweep_comparison.estimates[sweep.name]
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
    unit = f" {sweep.summary.scale.unit}" if measure.has_unit else ""
    notes = [interval(estimate, measure.write), measure.beside(sweep)]
    return Cell(f"{measure.write(estimate.value)}{unit}", note="; ".join(filter(None, notes)))


def _overall_cell(sweep_comparison: SweepComparison, measure: Measure) -> Cell:
    estimate = sweep_comparison.overall.get(measure.name)
    if estimate is None or estimate.value is None:
        return Cell(NONE)
    over, compared = len(sweep_comparison.over[measure.name]), len(sweep_comparison.compared)
    notes = [interval(estimate, measure.write), "" if over == compared else f"of {counted(over, 'sweep')}"]
    return Cell(measure.write(estimate.value), note="; ".join(filter(None, notes)), title=estimate.method)


def _data_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
