"""The files that a report can be asked for. Nothing is imported, so that the command line knows them at once."""

FORMATS = {
    "html": "one page that works offline",
    "markdown": "the sentences and tables of the page",
    "csv": "the numbers, for any program",
    "parquet": "the operating points, with their types",
    "pdf": "figures for a paper",
    "svg": "the same figures for a web page or an editor",
    "latex": "tables for a paper, by booktabs",
}
"""What can be asked for, and what it is."""

USUAL = ("html", "markdown", "csv", "parquet")
"""What is written where nothing is asked for."""

SEVERAL_FORMATS = {name: meaning for name, meaning in FORMATS.items() if name != "parquet"}
"""The same for a comparison of sweeps, which measures nothing of its own."""

SEVERAL_USUAL = ("html", "markdown", "csv")
