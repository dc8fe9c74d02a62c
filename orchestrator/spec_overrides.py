"""`--set key=value`: a value put into a document before it is checked, by a dotted key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.yaml_document import read_document

if TYPE_CHECKING:
    from orchestrator.sections import Location
    from orchestrator.yaml_document import Document, Mark

DOTTED_KEYS = frozenset({"grid"})
"""Mappings whose keys have dots themselves, which a dotted key must not be taken apart at."""


def apply_override(document: Document, override: str) -> None:
    """Put the value of `key=value`, which is YAML, where the dotted key says, making mappings on the way.

    Raises:
        ValueError: not of that form, or the key leads through something that has no such place.
        DocumentError: the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise ValueError("write key=value, such as training.epochs=10")
    value = read_document(text).content
    *way, last = _steps(key)
    holder: Any = document.content
    location: Location = ()
    for step in way:
        entry = _entry(holder, step, location)
        location = (*location, entry)
        if isinstance(holder, dict) and holder.get(step) is None:
            holder[entry] = {}
            _note(document, location, override)
        holder = holder[entry]
    entry = _entry(holder, last, location)
    holder[entry] = value
    _note(document, (*location, entry), override)


def _steps(key: str) -> list[str]:
    first, _, rest = key.partition(".")
    return [first, rest] if first in DOTTED_KEYS and rest else key.split(".")


def _entry(holder: Any, step: str, location: Location) -> str | int:
    """Return the key or position of a step. Raises ValueError where the holder has no such place."""
    dotted = ".".join(map(str, location))
    if isinstance(holder, dict):
        return step
    if not isinstance(holder, list):
        raise ValueError(f"'{dotted}' is {holder!r}, which has no '{step}' in it")  # noqa: TRY004 (a spec's mistake)
    if not step.isdecimal() or int(step) >= len(holder):
        positions = ", ".join(f"{dotted}.{position}" for position in range(min(len(holder), 5)))
        raise ValueError(f"'{dotted}' is a list of {len(holder)}; its places are {positions or 'none'}")
    return int(step)


def _note(document: Document, location: Location, override: str) -> None:
    document.overridden[location] = override
    # What stood there, and below, no longer does.
    for marks in (document.keys, document.values):
        _forget(marks, location)


def _forget(marks: dict[Location, Mark], location: Location) -> None:
    for known in [known for known in marks if known[: len(location)] == location]:
        del marks[known]
