r"""The tables of a report in LaTeX with booktabs, to be \input into a paper.

The output is ASCII, so that every engine accepts it without further packages.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING

from evaluation.report.analysis.definitions import measured_on
from evaluation.report.formatting import counted, significant
from evaluation.report.tables.comparison_tables import comparisons_table
from evaluation.report.tables.text_tables import Table, methods_table, seeds_table, with_columns, without_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.report.analysis.summary import ReportSummary
    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import Scale
    from evaluation.report.tables.text_tables import Cell

COSTS = frozenset(("parameters", "train", "evaluate", "other", "lost", "FLOPs"))
"""The columns of costs in the table of methods; the others are results."""

COST_WORDS = (
    "Times are device times. FLOPs are those of useful work. “Lost” is the time of failed and interrupted work."
)

PARAGRAPHS = frozenset(("remark", "sweep"))
"""Columns of text, which are broken into lines."""

MANY_COLUMNS = 7

LEFT_OUT = frozenset(("quality, equal training", "BD-rate", "remark"))
"""Columns of the comparisons that do not fit on a page; remarks are in the caption."""

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": "{`}",
    "'": "{'}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{WORD JOINER}": "{}",
    "−": "$-$",
    "–": "{--}",
    "—": "{---}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "‖": r"$\Vert$",
    "½": r"$\frac{1}{2}$",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ß": r"\ss{}",
    "…": r"\ldots{}",
    "’": "{'}",
    "‘": "{`}",
    "“": "{``}",
    "”": "{''}",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{NO-BREAK SPACE}": "~",
}
"""Commands for the characters that LaTeX reads as commands or ligatures, or not at all."""

ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": r"\`",
    "\N{COMBINING ACUTE ACCENT}": r"\'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": r"\^",
    "\N{COMBINING TILDE}": r"\~",
    "\N{COMBINING DIAERESIS}": r"\"",
    "\N{COMBINING RING ABOVE}": r"\r",
    "\N{COMBINING CARON}": r"\v",
    "\N{COMBINING CEDILLA}": r"\c",
}

GREEK = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
"""Letters whose command is their name; the other Greek letters look like Latin ones."""

LIGATURE = re.compile(r"([-,])(?=\1)")
SCIENTIFIC = re.compile(r"(−?[0-9.]+)e([+-][0-9]+)")


def latex_tables(sweep: SweepRecord, summary: ReportSummary) -> dict[str, bytes]:
    """Return the tables of a sweep by file name.

    They are results of the methods, costs, comparisons of each MR-VAE with the β-VAEs, and results of each seed.
    """
    methods = methods_table(summary.series)
    reached = _columns(methods, lambda column: column not in COSTS)
    costs = _columns(methods, lambda column: column in COSTS or column in ("method", "trials"))
    about = f"of the sweep {sweep.name} ({sweep.dataset}; {sweep.architecture})"
    quality = f"Mean over the seeds, with the smallest and the largest below. {_scale(summary.scale)}"
    tables = {
        "methods": (reached, f"Methods {about}. {quality}"),
        "costs": (costs, f"Costs of the methods {about}, sums over the seeds. {COST_WORDS}"),
        "comparisons": _compared(about, summary),
        "seeds": (seeds_table(summary.series), f"Methods {about}, by seed. {_scale(summary.scale)}"),
    }
    about_all = f"{measured_on([point for trial in sweep.trials for point in trial.points])}{_scaled(sweep)}"
    return {
        f"{name}.tex": latex_table(table, f"{caption} {about_all} {table.note}".strip(), f"{sweep.name}-{name}")
        for name, (table, caption) in tables.items()
        if table.rows
    }


def latex_table(table: Table, caption: str, label: str) -> bytes:
    """Return a table as a float of the text's width, with booktabs; remarks are in lines below their row.

    Characters of `label` that LaTeX does not allow in labels are replaced.
    """
    table = without_empty(table)
    lines = [
        "% \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\small" if len(table.columns) <= MANY_COLUMNS else r"\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(' '.join(caption.split()))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9.-]+', '-', label)}}}",
        rf"\begin{{tabular}}{{@{{}}{''.join(_alignment(table, column) for column in table.columns)}@{{}}}}",
        r"\toprule",
        *_heads(table.columns),
        r"\midrule",
        *(line for row in table.rows for line in _rows(row)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def escape(text: str) -> str:
    """Return ASCII that LaTeX prints as the text; no character of the text acts as a command.

    Characters without a command are replaced by their code point.
    """
    apart = LIGATURE.sub("\\1\N{WORD JOINER}", unicodedata.normalize("NFC", text))
    return "".join(_printed(character) for character in apart)


def _printed(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character in GREEK:
        return rf"$\{_greek(character)}$"
    if character.isascii():
        return character if character.isprintable() else " "
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        # An accent replaces the dot.
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base)
        return f"{ACCENTS[marks[0]]}{{{dotless}}}"
    return f"(U+{ord(character):04X})"


def _greek(letter: str) -> str:
    # Unicode spells lambda without its b.
    name = unicodedata.name(letter).split()[-1].replace("LAMDA", "LAMBDA")
    return name.capitalize() if letter.isupper() else name.lower()


def _heads(columns: Sequence[str]) -> list[str]:
    """Return the heads; the part after a comma is on a second line."""
    heads = [column.partition(", ") for column in columns]
    first = _row([escape(head) for head, _, _ in heads])
    return [first, _row([escape(rest) for _, _, rest in heads])] if any(rest for _, _, rest in heads) else [first]


def _rows(row: Sequence[Cell]) -> list[str]:
    """Return a row, and a line for each part of its remarks below it."""
    notes = [cell.note.split("; ") if cell.note else [] for cell in row]
    below = [[rf"{{\scriptsize {escape(part)}}}" if part else "" for part in line] for line in zip_longest(*notes)]
    return [_row([_number(cell.text) or escape(cell.text) for cell in row]), *map(_row, below)]


def _number(text: str) -> str:
    """Return a number in scientific notation as a formula, and an empty text for everything else."""
    found = SCIENTIFIC.fullmatch(text)
    return rf"${found[1].replace('−', '-')} \times 10^{{{int(found[2])}}}$" if found else ""


def _alignment(table: Table, column: str) -> str:
    if column in PARAGRAPHS:
        return r"p{0.17\linewidth}"
    return "l" if column in table.words else "r"


def _row(cells: Sequence[str]) -> str:
    # A bracket or a star at the start of a row would be read as an option of the row before; both are in braces.
    return rf"{' & '.join(cells)} \\"


def _columns(table: Table, chosen: Callable[[str], bool]) -> Table:
    return with_columns(table, [index for index, column in enumerate(table.columns) if chosen(column)])


def _compared(about: str, summary: ReportSummary) -> tuple[Table, str]:
    """Return the comparisons without the columns that do not fit, and a caption with the remarks."""
    table = comparisons_table(summary.comparisons)
    clock = " or ".join(sorted({one.cost.clock for one in summary.comparisons}))
    text = f"The MR-VAE against the β-VAEs {about}: their {clock} over its own, and its distortion minus theirs."
    intervals = next((one.times_cheaper.estimate.method for one in summary.comparisons), "")
    remarks = [
        f"{row[0].text} against {row[1].text}: {row[table.columns.index('remark')].text}."
        for row in table.rows
        if "remark" in table.columns and row[table.columns.index("remark")].text
    ]
    caption = " ".join([text, f"Below each number: {intervals}." if intervals else "One seed, no interval.", *remarks])
    return _columns(table, lambda column: column not in LEFT_OUT), caption


def _scale(scale: Scale) -> str:
    if scale.rates is None or scale.reference is None:
        return f"Distortions are not compared: {scale.reason}." if scale.reason else ""
    low, high = (significant(rate, 4) for rate in scale.rates)
    rate, distortion = scale.reference
    return (
        f"The mean distortion is over rates of {low} to {high} nats; the hypervolume is the share of the rectangle "
        f"from the origin to a rate of {rate:g} and a distortion of {distortion:g} that a curve dominates, also given "
        f"at only the {counted(len(scale.betas), 'β value')} of the curve with the fewest points."
    )


def _scaled(sweep: SweepRecord) -> str:
    return f" {sweep.scaled.title}." if sweep.scaled else ""
