"""Specs as YAML: read at a scale and with `--set` overrides, with the place of every problem, and written."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from orchestrator.errors import UserError, nearest
from orchestrator.spec.checks import validated
from orchestrator.spec.messages import messages
from orchestrator.spec.model import SweepSpec, json_schema
from orchestrator.spec.overrides import apply_override, overlap
from orchestrator.spec.scales import check_known, in_full, problems_of_scales, scaled, without_scales
from orchestrator.spec.yaml_document import DocumentError, implicit_resolvers, read_document
from workers.trial import MultiRateVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.spec.messages import Message
    from orchestrator.spec.section import Location
    from orchestrator.spec.yaml_document import Document

MOST_LINES = 20
MOST_BYTES = 2**23
"""More than the largest spec needs, whose number of values is limited."""


class SpecError(UserError):
    """A spec is invalid; the text has one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        lines = list(dict.fromkeys(problems))
        left = len(lines) - MOST_LINES
        super().__init__("\n".join([*lines[:MOST_LINES], *([f"and {left} more problems"] if left > 0 else [])]))


def read_spec(path: Path | str, overrides: Sequence[str] = (), scale: str | None = None) -> SweepSpec:
    """Return the spec of a YAML file, at a scale if one is named, with `key=value` overrides applied last.

    Raises SpecError where the file cannot be read, or the spec or any of its scales is invalid.
    """
    return spec_from_text(_text(_read(Path(path)), str(path)), str(path), overrides, scale)


def spec_from_text(text: str, source: str, overrides: Sequence[str] = (), scale: str | None = None) -> SweepSpec:
    """Return the spec of a YAML text, which `source` names in messages. Raises SpecError as `read_spec` does."""
    document = _read_document(text, source)
    wrong = [_line(each, document, source) for each in problems_of_scales(document, _problems)]
    if scale is None or wrong:
        return _checked(without_scales(document), source, overrides, also=wrong)
    return _at_scale(document, source, overrides, scale)


def stored_spec(content: bytes, source: str) -> SweepSpec:
    """Return the spec of a stored sweep from its file. Raises SpecError as `read_spec` does.

    An address in `notify.url`, which specs may no longer have, is ignored: it concerns the submit that stored it.
    """
    document = _read_document(_text(content, source), source)
    notify = document.content.get("notify")
    if isinstance(notify, dict) and "url" in notify:
        del document.content["notify"]
    return _checked(document, source, ())


def with_evaluation(
    spec: SweepSpec, *, metrics: str | None, betas: Sequence[float] | None, split: str | None
) -> SweepSpec:
    """Return the spec with added metrics (comma-separated) and β values, or another split.

    Raises SpecError as `read_spec` does.
    """
    overrides = []
    if metrics is not None:
        added = [name.strip() for name in metrics.split(",") if name.strip()]
        overrides.append(f"evaluation.metrics=[{', '.join(dict.fromkeys([*spec.evaluation.metrics, *added]))}]")
    if betas is not None:
        every = sorted({*_evaluated_betas(spec), *betas})
        overrides.append(f"evaluation.betas=[{', '.join(map(repr, every))}]")
    if split is not None:
        overrides.append(f"evaluation.split={split}")
    return spec_from_text(spec_yaml(spec), spec.name, overrides)


def _evaluated_betas(spec: SweepSpec) -> tuple[float, ...]:
    """Return the β values at which the Multi-Rate VAEs of a spec are evaluated."""
    methods = [method for section in spec.methods for method in section.methods()]
    evaluated = (spec.evaluation.for_method(each).betas for each in methods if isinstance(each, MultiRateVAE))
    return tuple(sorted({beta for betas in evaluated for beta in betas}))


def spec_yaml(spec: SweepSpec) -> str:
    """Return a spec with all its defaults as YAML, which reads back as an equal spec."""
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _at_scale(document: Document, source: str, overrides: Sequence[str], scale: str) -> SweepSpec:
    try:
        check_known(document, scale)
    except ValueError as error:
        raise SpecError([f"--scale {scale}: {error}"]) from error
    changed = list(document.content["scale"][scale])
    # The full spec is that of the same command without --scale, except for --set on keys that the scale changes.
    others = [each for each in overrides if not any(overlap(each.partition("=")[0], key) for key in changed)]
    full = _checked(without_scales(document), source, others)
    made = scaled(document, scale)
    made.document.content["scaled"] = {"by": scale, "full": in_full(full, changed)}
    return _checked(made.document, source, overrides, made.at_origin)


def _checked(
    document: Document,
    source: str,
    overrides: Sequence[str],
    at_origin: Callable[[Message], Message | None] = lambda _: None,
    also: Sequence[str] = (),
) -> SweepSpec:
    """Return the spec of a document with overrides. Raises SpecError with its problems and those in `also`."""
    for override in overrides:
        _apply(document, override)
    found = _validated(document.content)
    problems = [] if isinstance(found, SweepSpec) else found
    # Overrides are applied after the scale, so they are to blame for a value that both have set.
    placed = [each if _override(each, document) else at_origin(each) or each for each in problems]
    lines = [*(_line(each, document, source) for each in placed), *also]
    if lines or not isinstance(found, SweepSpec):
        raise SpecError(lines)
    return found


def _problems(content: Any) -> list[Message]:
    found = _validated(content)
    return [] if isinstance(found, SweepSpec) else found


def _validated(content: Any) -> SweepSpec | list[Message]:
    try:
        return validated(content)
    except ValidationError as error:
        return messages(error, _schema())


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return json_schema()


@implicit_resolvers
class _Dumper(yaml.SafeDumper):
    """Quotes text that `read_document` would otherwise read as another type."""

    def represent_list(self, values: Any) -> Any:
        return self.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=not any(map(_nests, values)))

    def represent_text(self, text: str) -> Any:
        # Unless escaped, YAML reads the rarer line breaks of Unicode as plain ones.
        style = None if text.replace("\n", "").isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _nests(value: Any) -> bool:
    return isinstance(value, (dict, list))


_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_text)


def _text(content: bytes, source: str) -> str:
    if len(content) > MOST_BYTES:
        raise SpecError([f"{source}: too large for a spec: it has more than {MOST_BYTES / 2**20:g} MiB"])
    try:
        # As a file opened for text is read: without a byte order mark, and with one kind of line end.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(
            [f"{source}: not a text file in UTF-8 (invalid byte {error.start + 1}); save it as UTF-8"]
        ) from error


def _read(path: Path) -> bytes:
    """Return the bytes of a file, of a large one the first that show that it is too large."""
    try:
        with path.open("rb") as handle:
            return handle.read(MOST_BYTES + 1)
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
        what = "is empty" if document.content is None else "is not a mapping"
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
    """Return the place of the deepest part of the location that is in the document."""
    if override := _override(message, document):
        return f"--set {override}"
    for location in _prefixes(message.location):
        # For a missing key, this is the key of its mapping.
        marks = document.keys if message.at_key else document.values
        mark = marks.get(location) or document.values.get(location)
        if mark:
            return f"{source}:{mark}"
    return f"{source}:1:1"


def _override(message: Message, document: Document) -> str | None:
    """Return the override that has set the value that a message is about, if one has."""
    return next(
        (document.overridden[each] for each in _prefixes(message.location) if each in document.overridden), None
    )


def _prefixes(location: Location) -> Iterator[Location]:
    return (location[:length] for length in range(len(location), 0, -1))
