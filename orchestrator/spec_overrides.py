"""A value put into a document before it is checked, by a dotted key, as `--set key=value` and scales do."""

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
    if steps(key)[0] in {"scale", "scaled"}:
        raise ValueError("scales are changed in the file alone; set the option itself, such as training.epochs=10")
    put(document, key, read_document(text).content, override)


def put(document: Document, key: str, value: Any, origin: str) -> None:
    """Put a value where the dotted key says, making mappings on the way; `origin` is noted as what has put it there.

    Raises ValueError where the key leads through something that has no such place.
    """
    *way, last = steps(key)
    holder: Any = document.content
    location: Location = ()
    for step in way:
        entry = _entry(holder, step, location)
        location = (*location, entry)
        if isinstance(holder, dict) and holder.get(step) is None:
            holder[entry] = {}
            _note(document, location, origin)
        holder = holder[entry]
    entry = _entry(holder, last, location)
    holder[entry] = value
    _note(document, (*location, entry), origin)


def steps(key: str) -> list[str]:
    """Return the keys and positions that a dotted key leads through."""
    first, _, rest = key.partition(".")
    return [first, rest] if first in DOTTED_KEYS and rest else key.split(".")


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one leads through the other."""
    return all(left == right for left, right in zip(steps(one), steps(other), strict=False))


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


def _note(document: Document, location: Location, origin: str) -> None:
    document.overridden[location] = origin
    # What stood there, and below, no longer does.
    for marks in (document.keys, document.values):
        _forget(marks, location)


def _forget(marks: dict[Location, Mark], location: Location) -> None:
    for known in [known for known in marks if known[: len(location)] == location]:
        del marks[known]
