"""Changes to a document before it is checked, by dotted keys, as in `--set key=value` and in scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.spec.section import RENAMED
from orchestrator.spec.yaml_document import read_document

if TYPE_CHECKING:
    from orchestrator.spec.section import Location
    from orchestrator.spec.yaml_document import Document, Mark

DOTTED_KEYS = frozenset({"grid"})
"""Mappings whose keys contain dots themselves; a dotted key is not split within them."""


def apply_override(document: Document, override: str) -> None:
    """Set the dotted key of `key=value` to the value, which is YAML. Missing mappings are created.

    Raises:
        ValueError: the text has another form, or the key leads through a value that has no such entry.
        DocumentError: the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise ValueError("write key=value, such as training.epochs=10")
    if steps(key)[0] in {"scale", "scaled"}:
        raise ValueError("scales can be changed in the file only; set the option itself, such as training.epochs=10")
    put(document, key, read_document(text).content, override)


def put(document: Document, key: str, value: Any, origin: str) -> None:
    """Set a dotted key to a value, and note `origin` as its source. Missing mappings are created.

    Raises ValueError where the key leads through a value that has no such entry.
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
    location = (*location, entry)
    earlier = document.overridden.get(location, key).partition("=")[0]
    if earlier != key and steps(earlier) == steps(key):
        raise ValueError(f"'{earlier}' is the former or present name of the same option; keep one of the two")
    holder[entry] = value
    _note(document, location, origin)


def steps(key: str) -> list[str]:
    """Return the keys and positions of a dotted key, with the present name of an option that was renamed."""
    first, _, rest = key.partition(".")
    if key in RENAMED:
        return [first, RENAMED[key]]
    return [first, rest] if first in DOTTED_KEYS and rest else key.split(".")


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one leads through the other."""
    return all(left == right for left, right in zip(steps(one), steps(other), strict=False))


def _entry(holder: Any, step: str, location: Location) -> str | int:
    """Return the key or position of a step. Raises ValueError where the holder has no such entry."""
    dotted = ".".join(map(str, location))
    if isinstance(holder, dict):
        former = (key.split(".")[1] for key, name in RENAMED.items() if name == step)
        return step if step in holder else next((name for name in former if name in holder), step)
    if not isinstance(holder, list):
        raise ValueError(f"'{dotted}' is {holder!r}, which has no '{step}'")  # noqa: TRY004 (a spec's mistake)
    if not step.isdecimal() or int(step) >= len(holder):
        positions = ", ".join(f"{dotted}.{position}" for position in range(min(len(holder), 5)))
        raise ValueError(f"'{dotted}' is a list of {len(holder)}; its entries are {positions or 'none'}")
    return int(step)


def _note(document: Document, location: Location, origin: str) -> None:
    document.overridden[location] = origin
    # The former value there, and all below it, is replaced.
    for marks in (document.keys, document.values):
        _forget(marks, location)


def _forget(marks: dict[Location, Mark], location: Location) -> None:
    for known in [known for known in marks if known[: len(location)] == location]:
        del marks[known]
