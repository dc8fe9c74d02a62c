"""A spec as a YAML file: read with every problem at its place and `--set` overrides, and written back."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from orchestrator.errors import UserError
from orchestrator.nearest import nearest
from orchestrator.spec import SweepSpec, json_schema
from orchestrator.spec_messages import messages
from orchestrator.spec_overrides import apply_override
from orchestrator.yaml_document import DocumentError, implicit_resolvers, read_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.spec_messages import Message
    from orchestrator.yaml_document import Document

MOST_LINES = 20


class SpecError(UserError):
    """A spec that cannot be used; its text is the message to print, one line a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        lines = list(dict.fromkeys(problems))
        left = len(lines) - MOST_LINES
        super().__init__("\n".join([*lines[:MOST_LINES], *([f"and {left} more like these"] if left > 0 else [])]))


def read_spec(path: Path | str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the spec of a YAML file, with `key=value` overrides put in before it is checked.

    Raises SpecError where the file cannot be read or the spec is not right.
    """
    return spec_from_text(_read_text(Path(path)), str(path), overrides)


def spec_from_text(text: str, source: str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the spec of a YAML text; `source` names it in messages. Raises SpecError as `read_spec` does."""
    document = _read_document(text, source)
    for override in overrides:
        _apply(document, override)
    try:
        return SweepSpec.model_validate(document.content)
    except ValidationError as error:
        raise SpecError([_line(each, document, source) for each in messages(error, _schema())]) from error


def spec_yaml(spec: SweepSpec) -> str:
    """Return a spec with all its defaults written out, as YAML that reads back to an equal one."""
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return json_schema()


@implicit_resolvers
class _Dumper(yaml.SafeDumper):
    """Quotes text wherever this project's reading of YAML would take it for something else."""

    def represent_list(self, values: Any) -> Any:
        return self.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=not any(map(_nests, values)))

    def represent_text(self, text: str) -> Any:
        # YAML reads the rarer line breaks of Unicode as plain ones, unless they are escaped.
        style = None if text.replace("\n", "").isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _nests(value: Any) -> bool:
    return isinstance(value, (dict, list))


_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_text)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            [f"{path}: not a text file in UTF-8 (byte {error.start + 1} is none); save it as UTF-8"]
        ) from error
    except FileNotFoundError as error:
        beside = [str(path.with_name(other.name)) for other in path.parent.glob("*.y*ml")]
        near = nearest(str(path), beside)
        raise SpecError([f"{path}: no such file{f'; did you mean {near}?' if near else ''}"]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError([f"{path}: cannot be read: {reason}"]) from error


def _read_document(text: str, source: str) -> Document:
    try:
        document = read_document(text)
    except DocumentError as problem:
        raise SpecError([f"{source}:{problem.mark}: {problem}"]) from problem
    if not isinstance(document.content, dict):
        what = "is empty" if document.content is None else "is no mapping"
        raise SpecError([f"{source}:1:1: the spec {what}; it must have keys such as name, dataset and methods"])
    return document


def _apply(document: Document, override: str) -> None:
    try:
        apply_override(document, override)
    except (ValueError, DocumentError) as error:
        raise SpecError([f"--set {override}: {error}"]) from error


def _line(message: Message, document: Document, source: str) -> str:
    where = _place(message, document, source)
    dotted = ".".join(map(str, message.location))
    return f"{where}: {dotted}: {message.text}" if dotted else f"{where}: {message.text}"


def _place(message: Message, document: Document, source: str) -> str:
    """Return the place of the deepest part of the location that stands somewhere."""
    for length in range(len(message.location), 0, -1):
        location = message.location[:length]
        if location in document.overridden:
            return f"--set {document.overridden[location]}"
        # A missing key is looked for where its mapping starts: at the key of the mapping.
        marks = document.keys if message.at_key else document.values
        mark = marks.get(location) or document.values.get(location)
        if mark:
            return f"{source}:{mark}"
    return f"{source}:1:1"
