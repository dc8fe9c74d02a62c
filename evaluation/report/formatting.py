"""Numbers as texts for readers: few digits, a unit, a true minus sign."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from evaluation.statistics import Estimate

SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600
DISTORTION_UNITS = {"nats": "nats", "sse": "summed squared error"}


def significant(value: float, digits: int = 3) -> str:
    """Return the value with this many significant digits, in plain notation from 0.0001 up to a million."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else minus(f"{value}")
    magnitude = abs(value)
    if magnitude != 0 and not 1e-4 <= magnitude < 1e6:  # noqa: PLR2004 (stated above)
        return minus(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(magnitude)) if magnitude else 0
    return minus(f"{value:.{max(digits - 1 - exponent, 0)}f}")


def minus(text: str) -> str:
    """Return the text of a number with a minus sign for its hyphen, exponents excepted."""
    return f"−{text[1:]}" if text.startswith("-") else text


def difference(value: float, *, sign: bool = True) -> str:
    """Return a difference of distortions: two decimals below 10, one above."""
    text = f"{value:+.2f}" if abs(value) < 10 else f"{value:+.1f}"  # noqa: PLR2004 (stated above)
    if float(text) == 0:
        return "0.00"
    return minus(text) if sign else text[1:]


def times(ratio: float) -> str:
    """Return a ratio: one decimal below 100, none above."""
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"  # noqa: PLR2004 (stated above)


def percent(fraction: float) -> str:
    """Return a fraction in whole percents."""
    return f"{100 * fraction:.0f} %"


def percent_change(fraction: float) -> str:
    """Return a fraction in percent with its sign and two significant digits."""
    return ("−" if fraction < 0 else "+") + f"{significant(abs(100 * fraction), 2)} %"


def share_difference(value: float) -> str:
    """Return a difference of shares, such as hypervolumes, with its sign and three decimals."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else minus(text)


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units, such as "0.4 s", "45 s", "3 min 20 s" or "2 h"."""
    whole = round(seconds)
    if whole < 10:  # noqa: PLR2004 (a fraction matters below)
        return f"{round(seconds, 2):.2g} s"
    minutes, whole = divmod(whole, SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, SECONDS_PER_HOUR // SECONDS_PER_MINUTE)
    units = ((hours, "h"), (minutes, "min")) if hours else ((minutes, "min"), (whole, "s"))
    return " ".join(f"{count} {unit}" for count, unit in units if count)


def counted(number: int, noun: str) -> str:
    """Return "1 trial", "2 trials"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def between(values: Sequence[float], digits: int = 3) -> str:
    """Return "1.2 to 3.4", or one number if both ends have the same text."""
    low, high = significant(min(values), digits), significant(max(values), digits)
    return low if low == high else f"{low} to {high}"


def interval(estimate: Estimate, write: Callable[[float], str]) -> str:
    """Return "1.2 to 3.4", the ends of an estimate's interval; empty without an interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{write(estimate.low)} to {write(estimate.high)}"


def listed(words: Collection[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
