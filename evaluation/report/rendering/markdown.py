from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evaluation.report.analysis.definitions import definitions, measured_on
from evaluation.report.tables import text_tables
from evaluation.report.tables.comparison_tables import comparisons_by_seed, comparisons_table
from evaluation.visible_text import visible

if TYPE_CHECKING:
    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.tables.text_tables import Cell, Table

MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
AT_START = re.compile(r"^(\d{1,9}(?=[.)](?: |$))|(?=[-+](?: |$)|-[- ]*$|=+$))")
"""The place before what begins a list, or makes a heading of the line before."""


def render_markdown(sweep: SweepRecord, summary: ReportSummary) -> str:
    """Return the report as Markdown: the page without its charts."""
    points = [point for trial in sweep.trials for point in trial.points]
    parts = [
        f"# {escape(sweep.name)}",
        escape(sweep.description),
        _about(sweep),
        _scaled(sweep),
        "\n\n".join(escape(warning) for warning in summary.warnings),
        f"**{escape(summary.headline)}**",
        escape(summary.rule),
        "\n".join(f"- **{escape(tile.value)}** {escape(tile.text)}" for tile in summary.tiles),
        escape(measured_on(points)),
        section("Methods", markdown_table(text_tables.methods_table(summary.series))),
        section("One run against each sweep", markdown_table(comparisons_table(summary.comparisons))),
        section("Choice of learning rates", markdown_table(text_tables.choices_table(sweep))),
        section("By seed", markdown_table(text_tables.seeds_table(summary.series))),
        section("One run against each sweep, by seed", markdown_table(comparisons_by_seed(summary.comparisons))),
        section("What is missing", "\n".join(f"- {escape(sentence)}" for sentence in summary.missing)),
        section("Operating points", markdown_table(text_tables.points_table(sweep.trials))),
        section("Trials", markdown_table(text_tables.trials_table((*sweep.trials, *sweep.tried)))),
        section("Provenance", markdown_table(_provenance(sweep))),
        section("How to read this", _definitions(summary, sweep)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text on one line that Markdown shows literally."""
    line = " ".join(visible(text).split())
    return AT_START.sub(r"\1\\", MARKUP.sub(r"\\\1", line).replace("&", "&amp;"))


def _about(sweep: SweepRecord) -> str:
    created = datetime.fromtimestamp(sweep.created_at, UTC)
    return escape(f"{sweep.dataset} · {sweep.architecture} · {created:%d %B %Y} · commit {sweep.commit}")


def _scaled(sweep: SweepRecord) -> str:
    if sweep.scaled is None:
        return ""
    changes = (f"> - {escape(f'{key}: {full} → {here}')}" for key, full, here in sweep.scaled.changes)
    return "\n".join([f"> **{escape(sweep.scaled.title)}**", ">", *changes])


def section(title: str, content: str) -> str:
    """Return a headed section; empty without content."""
    return f"## {title}\n\n{content}" if content else ""


def markdown_table(table: Table) -> str:
    """Return a table after its note; empty without rows."""
    if not table.rows:
        return ""
    lines = [table.columns, tuple("---" if column in table.words else "---:" for column in table.columns)]
    lines += [tuple(_cell(cell) for cell in row) for row in table.rows]
    content = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escape(table.note)}\n\n{content}" if table.note else content


def _cell(cell: Cell) -> str:
    if not cell.link:
        return escape(f"{cell.text} ({cell.note})" if cell.note else cell.text)
    # An address with a bracket or a space would end the link; percent signs do not.
    address = cell.link.translate({ord(character): f"%{ord(character):02X}" for character in "()<>|\\ \n"})
    return f"[{escape(cell.text)}]({address})"


def _provenance(sweep: SweepRecord) -> Table:
    return text_tables.values_table((trial.provenance for trial in sweep.trials), "provenance")


def _definitions(summary: ReportSummary, sweep: SweepRecord) -> str:
    points = [point for trial in sweep.trials for point in trial.points]
    return "\n".join(f"- **{term}**: {escape(meaning)}" for term, meaning in definitions(summary, points))
