"""The scales of a spec: the same sweep at other sizes, by name, and their changes.

The file gives a scale as dotted keys and values. A spec that is read at a scale has no scales any more; its `scaled`
names the scale and keeps the full value of each changed option.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import hint
from orchestrator.spec.messages import Message
from orchestrator.spec.model import NOT_SCALED
from orchestrator.spec.overrides import overlap, put, steps
from orchestrator.spec.section import RENAMED
from orchestrator.spec.yaml_document import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.spec.model import SweepSpec
    from orchestrator.spec.section import Location


@dataclass(frozen=True)
class ScaledDocument:
    """A document at a scale, without the scales; `origins` maps the locations that the scale has set to its keys."""

    scale: str
    document: Document
    origins: Mapping[Location, Location]

    def at_origin(self, message: Message) -> Message | None:
        """Return a message about a value that the scale has set as one about the scale, or None for other values."""
        for length in range(len(message.location), 0, -1):
            if origin := self.origins.get(message.location[:length]):
                return message._replace(location=(*origin, *message.location[length:]))
        return None


class ScaleError(Exception):
    """A scale that cannot be applied to its document, with a message for each wrong key."""

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__("\n".join(message.text for message in messages))
        self.messages = messages


def without_scales(document: Document) -> Document:
    """Return a copy of a document without its scales."""
    content = {key: copy.deepcopy(value) for key, value in document.content.items() if key != "scale"}
    return Document(content, dict(document.keys), dict(document.values), dict(document.overridden))


def scaled(document: Document, scale: str) -> ScaledDocument:
    """Return a document at one of its scales, which is a mapping. Raises ScaleError where a key of it is wrong."""
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
        # Another name, because the folder, the report and MLflow's run must not be those of the full sweep.
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
    """Return the problems of every scale of a document, located at the scale.

    `examine` returns the problems of a document's content. Problems that exist without the scale are left out.
    """
    scales = document.content.get("scale")
    if scales is None:
        return []
    before = examine(document.content)
    if misshapen := [message for message in before if message.location[:1] == ("scale",)]:
        return misshapen
    if "scaled" in document.content:
        return [Message(("scale",), at_key=True, text="this spec is at a scale already (see 'scaled'); remove one")]
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
    """Return a message about a value that is wrong at this scale only, and set elsewhere, as one about the scale."""
    dotted = ".".join(map(str, message.location))
    return Message(("scale", scale), at_key=True, text=f"{dotted}: {message.text}" if dotted else message.text)


def check_known(document: Document, scale: str) -> None:
    """Raise ValueError where a document has no scale of that name. Its scales are mappings."""
    if "scaled" in document.content:
        raise ValueError("this spec is at a scale already (see 'scaled'); use the spec that it was made from")
    scales = document.content.get("scale")
    if not scales:
        raise ValueError("this spec has no scales; add one, such as `scale: {smoke: {training.epochs: 2}}`")
    if scale not in scales:
        listed = ", ".join(scales)
        near = hint(scale, scales)
        raise ValueError(f"no such scale; {near}" if listed in near else f"no such scale; {near} There are: {listed}")


def in_full(spec: SweepSpec, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values, including defaults, of dotted keys in a spec; None where there is no such option."""
    content = _plain(spec)
    return {key: _value_at(content, key) for key in keys}


@dataclass(frozen=True)
class Change:
    """An option that a scale has changed, with both values as plain data; None where it has none."""

    key: str
    full: Any
    scaled: Any


def changes_of(spec: SweepSpec) -> tuple[Change, ...]:
    """Return the differences between a scaled spec and the full one. A `--set` may undo a change of the scale."""
    if spec.scaled is None:
        return ()
    content = _plain(spec)
    full: dict[str, Any] = content["scaled"]["full"]
    return tuple(
        change for key in full for change in _changes(".".join(steps(key)), full[key], _value_at(content, key))
    )


def _changes(key: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        before = {RENAMED.get(f"{key}.{below}", below): value for below, value in before.items()}
        for below in dict.fromkeys((*before, *after)):
            yield from _changes(f"{key}.{below}", before.get(below), after.get(below))
    elif before != after:
        yield Change(key, before, after)


def describe_scale(spec: SweepSpec) -> str:
    """Return a line that names the changes of the scale; empty where the spec is at no scale."""
    if spec.scaled is None:
        return ""
    changes = [f"{each.key} {shown(each.full)} → {shown(each.scaled)}" for each in changes_of(spec)]
    return f"Scaled by '{spec.scaled.by}': {', '.join(changes) or 'no change'}"


def shown(value: Any) -> str:
    """Return a value as a user writes it in a spec."""
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
