r"""The tables of a report in LaTeX, by booktabs, to be \input into a paper.

All that is written is ASCII, so that every engine takes it without further packages.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from evaluation.report.comparison_tables import comparisons_table
from evaluation.report.definitions import measured_on
from evaluation.report.text_tables import Table, methods_table, seeds_table, without_empty
from evaluation.report.wording import significant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.report.contents import SweepRecord
    from evaluation.report.series import Scale
    from evaluation.report.summary import ReportSummary
    from evaluation.report.text_tables import Cell

COSTS = frozenset(("parameters", "train", "evaluate", "other", "lost", "FLOPs"))
"""The columns of the table of methods that tell what they took; the rest tell what they reached."""

COST_WORDS = "Times are of devices; FLOPs are of what was of use, and lost is what failed or was cut off."

PARAGRAPHS = frozenset(("remark", "sweep"))
"""The columns of many words, which are broken into lines."""

MANY_COLUMNS = 7

LEFT_OUT = frozenset(("quality, equal training", "BD-rate", "remark"))
"""The columns of the comparisons that a page is too narrow for; remarks stand in the caption."""

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
"""Characters that LaTeX takes for commands, for ligatures or not at all, as it prints them."""

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
"""The letters that have a command of their name; the others look like Latin ones."""

LIGATURE = re.compile(r"([-,])(?=\1)")
SCIENTIFIC = re.compile(r"(−?[0-9.]+)e([+-][0-9]+)")


def latex_tables(sweep: SweepRecord, summary: ReportSummary) -> dict[str, bytes]:
    """Return the tables of a sweep by file name.

    They are what the methods reached, what they took, how each MR-VAE compares with the β-VAEs, and every seed.
    """
    methods = methods_table(summary.series)
    reached = _columns(methods, lambda column: column not in COSTS)
    costs = _columns(methods, lambda column: column in COSTS or column in ("method", "trials"))
    about = f"of the sweep {sweep.name} ({sweep.dataset}; {sweep.architecture})"
    quality = f"Mean over the seeds, below it the least and the largest. {_scale(summary.scale)}"
    tables = {
        "methods": (reached, f"Methods {about}. {quality}"),
        "costs": (costs, f"What the methods {about} took, all seeds together. {COST_WORDS}"),
        "comparisons": _compared(about, summary),
        "seeds": (seeds_table(summary.series), f"Every seed of the methods {about}. {_scale(summary.scale)}"),
    }
    about_all = f"{measured_on([point for trial in sweep.trials for point in trial.points])}{_scaled(sweep)}"
    return {
        f"{name}.tex": latex_table(table, f"{caption} {about_all} {table.note}".strip(), f"{sweep.name}-{name}")
        for name, (table, caption) in tables.items()
        if table.rows
    }


def latex_table(table: Table, caption: str, label: str) -> bytes:
    """Return a table as a float as wide as the text, by booktabs; remarks stand in a line below their row.

    Of `label` the characters stay that a label may have.
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
    """Return text as LaTeX prints it: ASCII, and nothing that is a command.

    What no command prints is named by its code point.
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
        # An accent takes the place of a dot.
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base)
        return f"{ACCENTS[marks[0]]}{{{dotless}}}"
    return f"(U+{ord(character):04X})"


def _greek(letter: str) -> str:
    # Unicode spells lambda without its b.
    name = unicodedata.name(letter).split()[-1].replace("LAMDA", "LAMBDA")
    return name.capitalize() if letter.isupper() else name.lower()


def _heads(columns: Sequence[str]) -> list[str]:
    """Return the heads; what follows a comma stands in a second line."""
    heads = [column.partition(", ") for column in columns]
    first = _row([escape(head) for head, _, _ in heads])
    return [first, _row([escape(rest) for _, _, rest in heads])] if any(rest for _, _, rest in heads) else [first]


def _rows(row: Sequence[Cell]) -> list[str]:
    """Return a row, and its remarks in as many lines below it as they have parts."""
    notes = [cell.note.split("; ") if cell.note else [] for cell in row]
    below = [[rf"{{\scriptsize {escape(part)}}}" if part else "" for part in line] for line in zip_longest(*notes)]
    return [_row([_number(cell.text) or escape(cell.text) for cell in row]), *map(_row, below)]


def _number(text: str) -> str:
    """Return a number in scientific notation as a formula, empty for everything else."""
    found = SCIENTIFIC.fullmatch(text)
    return rf"${found[1].replace('−', '-')} \times 10^{{{int(found[2])}}}$" if found else ""


def _alignment(table: Table, column: str) -> str:
    if column in PARAGRAPHS:
        return r"p{0.17\linewidth}"
    return "l" if column in table.words else "r"


def _row(cells: Sequence[str]) -> str:
    # A bracket or a star at the start of a row would belong to the row before it; both are in braces.
    return rf"{' & '.join(cells)} \\"


def _columns(table: Table, chosen: Callable[[str], bool]) -> Table:
    kept = [index for index, column in enumerate(table.columns) if chosen(column)]
    return replace(
        table,
        columns=tuple(table.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def _compared(about: str, summary: ReportSummary) -> tuple[Table, str]:
    """Return what a paper has room for of the comparisons, and a caption with the remarks on them."""
    table = comparisons_table(summary.comparisons)
    text = f"The MR-VAE against the β-VAEs {about}: their device time over its, and its distortion less theirs."
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
        f"at the {len(scale.betas)} β of the shortest curve alone."
    )


def _scaled(sweep: SweepRecord) -> str:
    return f" {sweep.scaled.title}." if sweep.scaled else ""
