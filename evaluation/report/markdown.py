from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evaluation.report import text_tables
from evaluation.report.comparison_tables import comparisons_by_seed, comparisons_table
from evaluation.report.definitions import definitions, measured_on

if TYPE_CHECKING:
    from evaluation.report.contents import SweepRecord
    from evaluation.report.summary import ReportSummary
    from evaluation.report.text_tables import Cell, Table

MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")


def render_markdown(sweep: SweepRecord, summary: ReportSummary) -> str:
    """Return the report as Markdown: the sentence, numbers and tables of the HTML, without its charts."""
    points = [point for trial in sweep.trials for point in trial.points]
    parts = [
        f"# {escape(sweep.name)}",
        escape(sweep.description),
        _about(sweep),
        _scaled(sweep),
        f"**{escape(summary.headline)}**",
        "\n".join(f"- **{escape(tile.value)}** {escape(tile.text)}" for tile in summary.tiles),
        escape(measured_on(points)),
        _section("Methods", _table(text_tables.methods_table(summary.series))),
        _section("One run against each sweep", _table(comparisons_table(summary.comparisons))),
        _section("Learning rates, chosen first", _table(text_tables.choices_table(sweep))),
        _section("By seed", _table(text_tables.seeds_table(summary.series))),
        _section("One run against each sweep, by seed", _table(comparisons_by_seed(summary.comparisons))),
        _section("What is missing", "\n".join(f"- {escape(sentence)}" for sentence in summary.missing)),
        _section("Operating points", _table(text_tables.points_table(sweep.trials))),
        _section("Trials", _table(text_tables.trials_table((*sweep.trials, *sweep.tried)))),
        _section("Provenance", _table(_provenance(sweep))),
        _section("How to read this", _definitions(summary, sweep)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line, with no HTML in it."""
    return MARKUP.sub(r"\\\1", " ".join(text.replace("&", "&amp;").split()))


def _about(sweep: SweepRecord) -> str:
    created = datetime.fromtimestamp(sweep.created_at, UTC)
    return escape(f"{sweep.dataset} · {sweep.architecture} · {created:%d %B %Y} · commit {sweep.commit}")


def _scaled(sweep: SweepRecord) -> str:
    if sweep.scaled is None:
        return ""
    changes = (f"> - {escape(f'{key}: {full} → {here}')}" for key, full, here in sweep.scaled.changes)
    return "\n".join([f"> **{escape(sweep.scaled.title)}**", ">", *changes])


def _section(title: str, content: str) -> str:
    return f"## {title}\n\n{content}" if content else ""


def _table(table: Table) -> str:
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
