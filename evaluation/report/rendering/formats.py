"""The formats of a report. This module imports nothing, so that the command line starts fast."""

FORMATS = {
    "html": "one page that works offline",
    "markdown": "the sentences and tables of the page",
    "csv": "the numbers, for any program",
    "parquet": "the operating points, with their types",
    "pdf": "figures for a paper",
    "svg": "the same figures for a web page or an editor",
    "latex": "tables for a paper, by booktabs",
}
"""Formats of a report and their descriptions."""

USUAL = ("html", "markdown", "csv", "parquet")
"""The default formats."""

SWEEP_COMPARISON_FORMATS = {name: meaning for name, meaning in FORMATS.items() if name != "parquet"}
"""Formats of a comparison of sweeps, which has no operating points."""

SWEEP_COMPARISON_USUAL = ("html", "markdown", "csv")
