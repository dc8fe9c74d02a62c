from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.report.analysis.definitions import definitions, measured_on
from evaluation.report.figures.plotly_charts import chart_data
from evaluation.report.tables import text_tables
from evaluation.report.tables.comparison_tables import comparisons_by_seed, comparisons_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.content.contents import SweepRecord

FOLDER = Path(__file__).parent
MOST_DOWNLOAD = 8 * 2**20
"""The largest file, in bytes, that is embedded in a page."""


def render_html(sweep: SweepRecord, summary: ReportSummary, downloads: Mapping[str, bytes]) -> str:
    """Return the report as one HTML page that loads nothing and works offline.

    `downloads` are files by name; the page embeds them, and only names those that are too large. Texts of the sweep are
    escaped, and the content security policy allows only the page's two scripts, by hash, and no requests.
    """
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    scripts = (_plotly(), (FOLDER / "report.js").read_text(encoding="utf-8"))
    points = [point for trial in sweep.trials for point in trial.points]
    charts = chart_data(sweep, summary)
    return environment.get_template("report.html").render(
        sweep=sweep,
        summary=summary,
        created=datetime.fromtimestamp(sweep.created_at, UTC),
        seeds=sorted({trial.seed for trial in sweep.trials}),
        states={state: sum(trial.state == state for trial in sweep.trials) for state in ("done", "failed")},
        measured=measured_on(points),
        points=len(points),
        trials=len(sweep.trials) + len(sweep.tried),
        no_frontier=_no_frontier(summary),
        definitions=definitions(summary, points),
        tables=_tables(sweep, summary),
        charts=charts,
        data=Markup(_inert_json(charts)),  # noqa: S704 (every < > & is escaped there)
        downloads={name: _data_address(content) for name, content in downloads.items() if not _is_large(content)},
        large_downloads=[name for name, content in downloads.items() if _is_large(content)],
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        scripts=[Markup(script) for script in scripts],  # noqa: S704 (our own and plotly's)
        policy=_policy(scripts),
    )


def _no_frontier(summary: ReportSummary) -> str:
    if summary.comparison is None:
        return "There is nothing to compare yet."
    return f"Not shown: {summary.comparison.frontiers.reason}."


def _tables(sweep: SweepRecord, summary: ReportSummary) -> dict[str, text_tables.Table]:
    return {
        "methods": text_tables.methods_table(summary.series),
        "comparisons": comparisons_table(summary.comparisons),
        "comparisons_by_seed": comparisons_by_seed(summary.comparisons),
        "choices": text_tables.choices_table(sweep),
        "seeds": text_tables.seeds_table(summary.series),
        "points": text_tables.points_table(sweep.trials),
        "trials": text_tables.trials_table((*sweep.trials, *sweep.tried)),
        "provenance": text_tables.values_table((trial.provenance for trial in sweep.trials), "provenance"),
        "settings": text_tables.values_table((trial.settings for trial in sweep.trials), "setting"),
    }


def _inert_json(values: Any) -> str:
    """Return JSON without any character that could end a script element or start a tag."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _is_large(content: bytes) -> bool:
    return len(content) > MOST_DOWNLOAD


def _data_address(content: bytes) -> str:
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode()}"


def _policy(scripts: tuple[str, ...]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    # plotly is large, and only the page needs it.
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
