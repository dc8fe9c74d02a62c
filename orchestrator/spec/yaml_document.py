"""YAML as plain data, with the line and column of every key and value.

Stricter than PyYAML's own loading: it gives only null, booleans, numbers, text, lists and mappings, follows YAML 1.2
(`1e-3` is a number; `yes`, `on`, dates and `12:30` are text) and refuses duplicate keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.spec.section import Location

DEEPEST = 20
MOST_VALUES = 200_000

_NUMBERS = list("-+.0123456789")
CORE_SCHEMA: tuple[tuple[str, str, list[str]], ...] = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _NUMBERS),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBERS,
    ),
)
"""Types of plain text, with a pattern and possible first characters: YAML 1.2.2, section 10.3.2."""

_TAG = "tag:yaml.org,2002:"
_CONVERSIONS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _text: None,
    f"{_TAG}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG}int": lambda text: int(text, 0 if text[:2] in {"0o", "0x"} else 10),
    f"{_TAG}float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    f"{_TAG}str": str,
}


class Mark(NamedTuple):
    """Line and column in a text, both counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class DocumentError(Exception):
    """The text cannot be read as plain data; `mark` is the place, if the parser knows it."""

    def __init__(self, message: str, mark: Mark | None) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass
class Document:
    """Plain data with the places of its keys and values; `overridden` has the sources of values that were set later."""

    content: Any = None
    keys: dict[Location, Mark] = field(default_factory=dict)
    values: dict[Location, Mark] = field(default_factory=dict)
    overridden: dict[Location, str] = field(default_factory=dict)


def implicit_resolvers(target: Any) -> Any:
    """Make a loader or dumper class resolve plain text by the rules of YAML 1.2 only. Returns the class."""
    target.yaml_implicit_resolvers = {}
    for kind, pattern, first in CORE_SCHEMA:
        target.add_implicit_resolver(_TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)
    return target


@implicit_resolvers
class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, used for parsing only: nothing is constructed from a tag."""

    depth = 0
    composed = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node. Raises DocumentError where it is nested too deep, or too many came before it."""
        self.depth += 1
        self.composed += 1
        if self.composed > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} keys and values; use from, to and count, or shorter lists"
            raise DocumentError(message, _mark(self.peek_event().start_mark))
        if self.depth > DEEPEST:
            raise DocumentError(f"nested more than {DEEPEST} deep", _mark(self.peek_event().start_mark))
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_document(text: str) -> Document:
    """Return the data of one YAML document with its places; None for an empty text.

    Raises:
        DocumentError: invalid YAML, a tag that constructs objects, a duplicate key, too much nesting or repetition.
    """
    try:
        loader = PlainLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_plainly(error), _mark(error.problem_mark or error.context_mark)) from error
    except yaml.reader.ReaderError as error:
        raise DocumentError(
            f"the character U+{error.character:04X} is not allowed in YAML", _mark_at(text, error.position)
        ) from error
    document = Document()
    if root is not None:
        document.content = _Reader(document).read(root, ())
    return document


class _Reader:
    """Converts nodes to data, and records their places."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values_read = 0

    def read(self, node: Any, location: Location) -> Any:
        mark = _mark(node.start_mark)
        self.values_read += 1
        # Aliases of aliases multiply, and never end where an anchor contains itself.
        if self.values_read > MOST_VALUES or len(location) > DEEPEST:
            raise DocumentError("too many values after expanding anchors and aliases; write the values out", mark)
        self.document.values[location] = mark
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return {key: self.read(value, (*location, key)) for key, value in self.entries(node, location)}
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.read(item, (*location, position)) for position, item in enumerate(node.value)]
        return _scalar(node, mark)

    def entries(self, node: Any, location: Location) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Mark] = {}
        for key_node, value in node.value:
            mark = _mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _CONVERSIONS:
                raise DocumentError("a key must be plain text", mark)
            key = key_node.value
            if key in seen:
                message = f"duplicate key '{key}', first in line {seen[key].line}; keep one"
                raise DocumentError(message, mark)
            seen[key] = self.document.keys[(*location, key)] = mark
            yield key, value


def _scalar(node: Any, mark: Mark) -> Any:
    tag = node.tag
    if not isinstance(node, yaml.ScalarNode) or tag not in _CONVERSIONS:
        written = tag.replace(_TAG, "!!")
        raise DocumentError(f"the tag {written} is not allowed; write plain values only", mark)
    try:
        return _CONVERSIONS[tag](node.value)
    except (ValueError, KeyError) as error:
        shown = node.value if len(node.value) <= 40 else f"{node.value[:40]}…"  # noqa: PLR2004 (enough to recognise it)
        raise DocumentError(f"{shown!r} cannot be read as {tag.removeprefix(_TAG)}", mark) from error


def _plainly(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in (error.problem or ""):
        return "a tab cannot indent YAML; use spaces"
    parts = [part for part in (error.context, error.problem) if part]
    return f"not valid YAML: {', '.join(parts)}"


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _mark_at(text: str, position: int) -> Mark:
    before = text[:position]
    return Mark(before.count("\n") + 1, position - before.rfind("\n"))
