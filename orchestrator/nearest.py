"""The nearest valid choice to something misspelt."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LISTED = 20


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is spelt most like a word, or None where none is near.

    Of dotted choices the last part may be near alone: `training.hidden` is near `architecture.hidden`.
    """
    listed = list(choices)
    whole = difflib.get_close_matches(word, listed, n=1, cutoff=0.75)
    last_parts = {choice.rsplit(".", maxsplit=1)[-1]: choice for choice in reversed(listed)}
    ends = difflib.get_close_matches(word.rsplit(".", maxsplit=1)[-1], last_parts, n=1)
    lower = {choice.lower(): choice for choice in reversed(listed)}
    caseless = difflib.get_close_matches(word.lower(), lower, n=1)
    found = [*whole, *(last_parts[end] for end in ends), *(lower[choice] for choice in caseless)]
    return found[0] if found else None


def hint(word: str, choices: Iterable[str]) -> str:
    """Return what to say after an unknown word: the nearest choice, or all of them where none is near."""
    listed = list(choices)
    near = nearest(word, listed)
    if near:
        return f"did you mean '{near}'?"
    return f"choose one of {', '.join(listed[:MOST_LISTED])}{', …' if len(listed) > MOST_LISTED else ''}"
