"""Pydantic's errors about a spec in plain words: place, cause and the nearest valid choice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from models.architectures.registry import ARCHITECTURES
from orchestrator.errors import hint
from orchestrator.spec.section import RENAMED
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from orchestrator.spec.section import Location

_LONGEST_SHOWN = 60
_LEFT_OUT: dict[str | int, dict[str, str]] = {
    "architecture": ARCHITECTURES.left_out,
    "dataset": DATASETS.left_out,
}
"""Reasons why the name of a plug-in that cannot be used is not a choice in a section."""

_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list, such as [1, 2]",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "string_unicode": "text of valid characters",
}
_BOUNDS = {
    "greater_than": ("gt", "it must be above"),
    "greater_than_equal": ("ge", "it must be at least"),
    "less_than_equal": ("le", "it must be at most"),
}


class Message(NamedTuple):
    """A problem: its location in the spec, whether it is about the key there or its value, and the text."""

    location: Location
    at_key: bool
    text: str


def messages(error: ValidationError, schema: Mapping[str, Any]) -> list[Message]:
    """Return the messages of pydantic's errors, given the JSON Schema of what was validated."""
    return [_message(details, schema) for details in error.errors(include_url=False) if not _is_consequence(details)]


def _is_consequence(error: ErrorDetails) -> bool:
    # Pydantic does not count wrong items, so a list of wrong items is also reported as too short.
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _message(error: ErrorDetails, schema: Mapping[str, Any]) -> Message:
    location, node = _follow(error["loc"], schema)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        _, parent = _follow(error["loc"][:-1], schema)
        return Message(location, at_key=True, text=_about_unknown(location, parent["properties"]))
    if kind == "missing":
        return Message(location, at_key=True, text="this key is missing")
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _about_choice_of_section(location, node, context)
    return Message(location, kind == "key", _about_value(kind, context, error["input"]))


def _about_unknown(location: Location, known: Mapping[str, Any]) -> str:
    key = str(location[-1])
    if present := RENAMED.get(".".join(map(str, location))):
        return f"'{key}' is the former name of '{present}', which is there too; keep one of the two"
    return f"unknown key; {hint(key, known)}"


def _about_choice_of_section(location: Location, union: Mapping[str, Any], context: Mapping[str, Any]) -> Message:
    choices = union["discriminator"]["mapping"]
    key = union["discriminator"]["propertyName"]
    if "tag" not in context:
        return Message((*location, key), at_key=True, text=f"this key is missing; choose one of {', '.join(choices)}")
    tag = str(context["tag"])
    text = _LEFT_OUT.get(location[-1], {}).get(tag) or f"unknown {key} {tag!r}; {hint(tag, choices)}"
    return Message((*location, key), at_key=False, text=text)


def _about_value(kind: str, context: Mapping[str, Any], value: Any) -> str:
    if kind in {"problem", "key"}:
        return str(context["text"])
    if kind == "literal_error":
        choices = re.findall("'([^']*)'", context["expected"])
        return f"{_shown(value)} is not a choice; {hint(str(value), choices)}"
    if kind in _BOUNDS:
        limit, words = _BOUNDS[kind]
        return f"{_shown(value)} is out of range; {words} {context[limit]:g}"
    if kind in {"too_short", "too_long"}:
        return _about_length(kind, context)
    return _about_type(value, _WANTED[kind]) if kind in _WANTED else f"{_shown(value)}: {context or kind}"


def _about_length(kind: str, context: Mapping[str, Any]) -> str:
    if not context["actual_length"]:
        return f"this is empty; give at least {context['min_length']}"
    limit = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
    return f"{context['actual_length']} given; give {limit}"


def _about_type(value: Any, wanted: str) -> str:
    if value is None:
        return f"this has no value; it must be {wanted}"
    if wanted == _WANTED["bool_type"] and str(value).lower() in {"yes", "no", "on", "off"}:
        return f"{value!r} is text in YAML 1.2; write true or false"
    if wanted == _WANTED["int_type"] and isinstance(value, float) and value.is_integer():
        return f"{value!r} has a decimal point or an exponent; write {int(value)}"
    kind = " is text" if isinstance(value, str) else ""
    return f"{_shown(value)}{kind}; it must be {wanted}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "this is a mapping"
    if isinstance(value, (tuple, list)):
        return "this is a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _follow(steps: Location, schema: Mapping[str, Any]) -> tuple[Location, Mapping[str, Any]]:
    """Return the location in the document and the schema there; pydantic's locations include branches of unions."""
    location: list[str | int] = []
    node = _resolved(schema, schema)
    for step in steps:
        branch = _branch(node, step)
        if branch is None:
            location.append(step)
        below = branch if branch is not None else _child(node, step)
        node = _resolved(below, schema)
    return tuple(location), node


def _branch(node: Mapping[str, Any], step: str | int) -> Mapping[str, Any] | None:
    mapping = node.get("discriminator", {}).get("mapping", {})
    if step in mapping:
        return {"$ref": mapping[step]}
    names = {branch.get("type") or branch["$ref"].split("/")[-1]: branch for branch in node.get("oneOf", ())}
    return names.get(step)


def _child(node: Mapping[str, Any], step: str | int) -> Mapping[str, Any]:
    if isinstance(step, int):
        return node.get("items", {})
    return node.get("properties", {}).get(step, {})


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        return _resolved(schema["$defs"][node["$ref"].split("/")[-1]], schema)
    if "anyOf" in node:
        return _resolved(next(branch for branch in node["anyOf"] if branch.get("type") != "null"), schema)
    return node
