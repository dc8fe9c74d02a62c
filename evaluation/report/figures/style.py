"""The style of figures for papers, and saving them.

Colours are the colour-blind safe ones of Okabe and Ito; markers and dashes differ too, for print without colour. The
result does not depend on the user's settings of matplotlib or on the time.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Kind = Literal["pdf", "svg"]

COLUMN_INCHES = 3.3
TEXT_INCHES = 6.8

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

PHASES = {"train": "#404040", "evaluate": "#8c8c8c"}
"""The phases that are compared, and their colours."""

SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, and has β
    "font.size": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.linewidth": 0.4,
    "grid.color": "#e2e2e2",
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    # TrueType outlines: publishers refuse matplotlib's default Type 3.
    "pdf.fonttype": 42,
    # Outlines of the glyphs, so that a figure looks the same wherever it is opened.
    "svg.fonttype": "path",
    "svg.hashsalt": "mrvae-orch",
    # Dollar signs in names do not start a formula.
    "text.parse_math": False,
}

CHARACTERS_PER_INCH = 16
HANDLE_INCHES = 0.55
LEGEND_LINE_INCHES = 0.16
TWO_DECADES = 100


@dataclass(frozen=True)
class Look:
    """The look of a series in all figures."""

    colour: str
    marker: str
    dashes: Any


def style() -> Any:
    """Return the context in which figures are drawn and saved."""
    # matplotlib takes a while to import, and only some reports have figures.
    from matplotlib import style as styles

    # The user's own settings must not change these figures.
    return styles.context(["default", SETTINGS])


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """Return a look for each name; up to 280 looks are distinct."""
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, name in enumerate(names)
    }


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; width and height are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def saved(figure: Figure, kind: Kind) -> bytes:
    """Return the figure as the bytes of a file, without a date."""
    buffer = io.BytesIO()
    dates = {"pdf": "CreationDate", "svg": "Date"}
    figure.savefig(buffer, format=kind, metadata={dates[kind]: None})
    return buffer.getvalue()


def label(axes: Axes, x: str, y: str) -> None:
    """Label both axes, and draw a grid behind their contents."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.set_axisbelow(True)


def count_in_whole_numbers(axis: Axis) -> None:
    """Put the ticks of an axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def mark_betas(axis: Axis) -> None:
    """Write β as plain numbers: only at powers of ten if the axis spans two decades."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high = axis.get_view_interval()
    plain = FuncFormatter(lambda value, _: f"{value:.3g}")
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(NullFormatter() if high / low >= TWO_DECADES else plain)


def add_legend(figure: Figure, looks: Mapping[str, Look], *, bands: bool) -> None:
    """Put a legend of the series, and of the bands if there are any, above the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[tuple[str, Any]] = [
        (name, Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes))
        for name, look in looks.items()
    ]
    if bands:
        entries.append(("smallest to largest seed", Patch(color="#808080", alpha=0.3, linewidth=0)))
    _place_legend(figure, entries)


def add_phases(figure: Figure, phases: set[str]) -> None:
    """Put a legend of the phases above the axes."""
    from matplotlib.patches import Patch

    _place_legend(figure, [(phase, Patch(**bar_style(phase))) for phase in PHASES if phase in phases])


def bar_style(phase: str) -> dict[str, Any]:
    """Return the fill of a phase's part of a bar."""
    return {"facecolor": PHASES[phase], "edgecolor": "#404040", "linewidth": 0.5}


def wrapped(name: str, characters: int) -> str:
    """Return a name wrapped into lines of this many characters; unprintable ones are replaced."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in " ".join(name.split()))
    return textwrap.fill(shown, characters)


def _place_legend(figure: Figure, entries: Sequence[tuple[str, Any]]) -> None:
    """Put a legend above the axes, in as many columns as fit, and make the figure higher by its lines."""
    width, height = figure.get_size_inches()
    names, handles = zip(*entries, strict=True)
    labels, columns, lines = legend_size(names, width)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, frameon=False, borderpad=0, handlelength=2.6
    )
    figure.set_figheight(height + LEGEND_LINE_INCHES * lines)


def legend_size(names: Sequence[str], width: float) -> tuple[list[str], int, int]:
    """Return the wrapped names of a legend of this width, the number of its columns, and the number of its lines."""
    labels = [wrapped(name, int((width - HANDLE_INCHES) * CHARACTERS_PER_INCH)) for name in names]
    for columns in range(len(labels), 0, -1):
        # A legend is filled column by column, each as wide as its longest line.
        filled = [part.tolist() for part in np.array_split(np.array(labels), columns)]
        if columns == 1 or sum(_column_inches(part) for part in filled) <= width:
            break
    return labels, columns, max(sum(1 + entry.count("\n") for entry in part) for part in filled)


def _column_inches(labels: Sequence[str]) -> float:
    return HANDLE_INCHES + max(len(line) for entry in labels for line in entry.split("\n")) / CHARACTERS_PER_INCH
