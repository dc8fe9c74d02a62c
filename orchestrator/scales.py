"""The scales of a spec: the same sweep at another size, by name, and what that changes.

A scale stands in the file, as dotted keys and values. Reading the file at a scale uses all its scales up: the spec
that comes of it says in `scaled` which scale it is, and what each changed option is in full.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from orchestrator.grid import known_paths
from orchestrator.nearest import hint
from orchestrator.sections import Section
from orchestrator.spec_messages import Message
from orchestrator.spec_overrides import overlap, put, steps
from orchestrator.yaml_document import Document
from workers.trial import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.sections import Location
    from orchestrator.spec import SweepSpec

NOT_SCALED = ("name", "scale", "scaled")


class ScaledSection(Section):
    """Which scale of which spec this is; `--scale` writes it, so that whatever is made of the spec can say so."""

    by: Annotated[str, Field(min_length=1, description="The name of the scale.")]
    full: Annotated[
        dict[str, Any], Field(description="What every option that the scale changes is without it, by dotted key.")
    ]


def list_keys_in_schema(schema: dict[str, Any]) -> None:
    """Put the keys that a scale may change into the JSON Schema of scales; positions in lists are not listed."""
    keys = [*known_paths(), *(f"evaluation.{field.name}" for field in fields(Evaluation)), "seeds"]
    scale = {
        "type": "object",
        "minProperties": 1,
        "description": "Dotted keys, as --set takes them, and their values at this scale.",
        "properties": {key: {"description": f"The value of {key} at this scale."} for key in keys},
        "propertyNames": {"not": {"enum": list(NOT_SCALED)}},
    }
    for branch in schema.get("anyOf", [schema]):
        if branch.get("type") == "object":
            branch["additionalProperties"] = scale
            branch["propertyNames"] = {"minLength": 1}


@dataclass(frozen=True)
class ScaledDocument:
    """A document at a scale, without the scales themselves; `origins` has the places of what the scale has put in."""

    scale: str
    document: Document
    origins: Mapping[Location, Location]

    def at_origin(self, message: Message) -> Message | None:
        """Return a message about what the scale has put in as one about the scale; None where it is about another."""
        for length in range(len(message.location), 0, -1):
            if origin := self.origins.get(message.location[:length]):
                return message._replace(location=(*origin, *message.location[length:]))
        return None


class ScaleError(Exception):
    """A scale that cannot be put into its document, with a message for every key of it that is wrong."""

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__("\n".join(message.text for message in messages))
        self.messages = messages


def without_scales(document: Document) -> Document:
    """Return a copy of a document, less its scales."""
    content = {key: copy.deepcopy(value) for key, value in document.content.items() if key != "scale"}
    return Document(content, dict(document.keys), dict(document.values), dict(document.overridden))


def scaled(document: Document, scale: str) -> ScaledDocument:
    """Return a document at one of its scales, whose form is right. Raises ScaleError where a key of it is wrong."""
    changes = document.content["scale"][scale]
    made = without_scales(document)
    if wrong := list(_wrong_keys(scale, changes)):
        raise ScaleError(wrong)
    for key, value in changes.items():
        try:
            put(made, key, copy.deepcopy(value), key)
        except ValueError as error:
            wrong.append(_about_key(scale, key, str(error)))
    if wrong:
        raise ScaleError(wrong)
    if isinstance(made.content.get("name"), str):
        # A name of its own, so that neither folder nor report nor MLflow's run is that of the sweep in full.
        made.content["name"] += f"-{scale}"
    origins: dict[Location, Location] = {where: ("scale", scale, key) for where, key in made.overridden.items()}
    made.overridden.clear()
    return ScaledDocument(scale, made, origins)


def _wrong_keys(scale: str, changes: Mapping[str, Any]) -> Iterator[Message]:
    keys = list(changes)
    for position, key in enumerate(keys):
        if steps(key)[0] in NOT_SCALED:
            yield _about_key(scale, key, "a scale cannot change this; remove the line")
        elif before := next((other for other in keys[:position] if overlap(key, other)), None):
            yield _about_key(scale, key, f"'{before}' changes this already; keep one of the two")


def _about_key(scale: str, key: str, text: str) -> Message:
    return Message(("scale", scale, key), at_key=True, text=text)


def problems_of_scales(document: Document, examine: Callable[[Any], list[Message]]) -> list[Message]:
    """Return what is wrong with every scale of a document, at the scale's own places.

    `examine` returns what is wrong with the content of a document. What is wrong without the scale as well is left out.
    """
    scales = document.content.get("scale")
    if scales is None:
        return []
    before = examine(document.content)
    if misshapen := [message for message in before if message.location[:1] == ("scale",)]:
        return misshapen
    if "scaled" in document.content:
        return [Message(("scale",), at_key=True, text="this spec is at a scale already, as 'scaled' says; remove one")]
    return [message for scale in scales for message in _problems_of_scale(document, scale, examine, before)]


def _problems_of_scale(
    document: Document, scale: str, examine: Callable[[Any], list[Message]], before: Sequence[Message]
) -> Iterator[Message]:
    if not scale:
        yield Message(("scale", scale), at_key=True, text="a scale needs a name")
        return
    try:
        made = scaled(document, scale)
    except ScaleError as error:
        yield from error.messages
        return
    for message in examine(made.document.content):
        if message not in before:
            yield made.at_origin(message) or _about_scale(scale, message)


def _about_scale(scale: str, message: Message) -> Message:
    """Return a message about what stands elsewhere, and is wrong at this scale only, as one about the scale."""
    dotted = ".".join(map(str, message.location))
    return Message(("scale", scale), at_key=True, text=f"{dotted}: {message.text}" if dotted else message.text)


def check_known(document: Document, scale: str) -> None:
    """Raise ValueError where a document, the form of whose scales is right, has no scale of that name."""
    if "scaled" in document.content:
        raise ValueError("this spec is at a scale already, as 'scaled' says; give the one that it was made from")
    scales = document.content.get("scale")
    if not scales:
        raise ValueError("this spec has no scales; write some, such as `scale: {smoke: {training.epochs: 2}}`")
    if scale not in scales:
        listed = ", ".join(scales)
        near = hint(scale, scales)
        raise ValueError(f"no such scale; {near}" if listed in near else f"no such scale; {near} There are: {listed}")


def in_full(spec: SweepSpec, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values that a spec has at dotted keys, defaults too, and None where it has no such option."""
    content = _plain(spec)
    return {key: _value_at(content, key) for key in keys}


@dataclass(frozen=True)
class Change:
    """An option that a scale has changed, as plain data; None where it is not set, or there is no such option."""

    key: str
    full: Any
    scaled: Any


def changes_of(spec: SweepSpec) -> tuple[Change, ...]:
    """Return what is other in a spec than in full. A `--set` counts, and so may undo what the scale changes."""
    if spec.scaled is None:
        return ()
    content = _plain(spec)
    full: dict[str, Any] = content["scaled"]["full"]
    return tuple(change for key in full for change in _changes(key, full[key], _value_at(content, key)))


def _changes(key: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for below in dict.fromkeys((*before, *after)):
            yield from _changes(f"{key}.{below}", before.get(below), after.get(below))
    elif before != after:
        yield Change(key, before, after)


def describe_scale(spec: SweepSpec) -> str:
    """Return a line on what is scaled, to be printed; empty where the spec is at no scale."""
    if spec.scaled is None:
        return ""
    changes = [f"{each.key} {shown(each.full)} → {shown(each.scaled)}" for each in changes_of(spec)]
    return f"Scaled by '{spec.scaled.by}': {', '.join(changes) or 'nothing is other than in full'}"


def shown(value: Any) -> str:
    """Return a value of a spec as one would write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(below)}' for key, below in value.items() if below is not None)}}}"
    return str(value)


def _plain(spec: SweepSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)


def _value_at(content: Any, key: str) -> Any:
    for step in steps(key):
        if isinstance(content, dict):
            content = content.get(step)
        elif isinstance(content, list) and step.isdecimal() and int(step) < len(content):
            content = content[int(step)]
        else:
            return None
    return content
