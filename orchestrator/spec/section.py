"""Sections of a spec: mappings of known keys, most of them made from the dataclass that they configure.

Such a section has the fields, types, choices, descriptions and defaults of its dataclass, and is read as an instance of
it. A ValueError of the dataclass becomes an error at the field that its message names first.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    SerializationInfo,
    create_model,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, ValidationError
from typing_extensions import Doc

from models.options import bare, option_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Location = tuple[str | int, ...]
"""Where in a spec: keys and list positions, from the top."""

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)
"""Values are not converted, unknown keys are errors, and numbers are finite."""

RENAMED = {"evaluation.along": "intermediate", "resources.least_ranks": "min_ranks"}
"""The present names of keys, by the former keys. Stored specs have those, so they are still read."""


def problem(location: Location, message: str) -> InitErrorDetails:
    """Return an error about a value of the right type; the location is relative to what is validated."""
    return InitErrorDetails(type=PydanticCustomError("problem", "{text}", {"text": message}), loc=location, input=None)


def at_key(location: Location, message: str) -> InitErrorDetails:
    """Return an error about the key at the end of the location, not about its value."""
    return InitErrorDetails(type=PydanticCustomError("key", "{text}", {"text": message}), loc=location, input=None)


def moved(error: ErrorDetails, location: Location) -> InitErrorDetails:
    """Return one of pydantic's errors with its location below another one."""
    context = error.get("ctx", {})
    return InitErrorDetails(type=error["type"], loc=(*location, *error["loc"]), input=error["input"], ctx=context)


def refusal(problems: Iterable[InitErrorDetails]) -> ValidationError:
    """Return the error to raise for these problems."""
    return ValidationError.from_exception_data("spec", list(problems))


def named_first(message: str, fields: Iterable[str]) -> str | None:
    """Return the field that a message names first, or None if it names none."""
    known = set(fields)
    return next((word for word in re.findall(r"\w+", message) if word in known), None)


class Section(BaseModel):
    """A mapping of known keys to values of exact types."""

    model_config = STRICT


class _Options(Section):
    """The section of a dataclass, before it becomes an instance."""

    configures: ClassVar[type[Any]]

    def configuration(self) -> Any:
        names = [field.name for field in dataclasses.fields(self.configures)]
        try:
            return self.configures(**{name: getattr(self, name) for name in names})
        except ValueError as error:
            field = named_first(str(error), names)
            raise refusal([problem((field,) if field else (), str(error))]) from error


def options_of(configures: type[Any]) -> GetPydanticSchema:
    """Annotate a dataclass as a section whose keys are its fields."""
    return _read_as(_options(configures), AfterValidator(_Options.configuration), PlainSerializer(_fields))


def one_of(registry: Mapping[str, type[Any]]) -> GetPydanticSchema:
    """Annotate the base class of a registry's dataclasses as a section of one of them, chosen by the key `name`."""
    tagged = [
        _options(configures, name=(Literal[name], Field(description=_summary(configures))))
        for name, configures in registry.items()
    ]
    return _read_as(
        typing.Union[tuple(tagged)],  # noqa: UP007 (made at run time)
        Field(discriminator="name"),
        AfterValidator(_Options.configuration),
        PlainSerializer(lambda options, info: {"name": options.name, **_fields(options, info)}),
    )


def overrides_of(configures: type[Any]) -> GetPydanticSchema:
    """Annotate a section in which every field of a dataclass is optional."""
    fields: dict[str, Any] = {
        field.name: (option(configures, field, optional=True), None) for field in dataclasses.fields(configures)
    }
    about = f"Options of {configures.__name__.lower()} to change here; the others stay as they are."
    return _read_as(create_model(f"{configures.__name__}Overrides", __base__=Section, __doc__=about, **fields))


def _read_as(hint: Any, *extras: Any) -> GetPydanticSchema:
    """Annotate a type that pydantic reads as another one."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(Annotated[(hint, *extras)] if extras else hint))


def option(configures: type[Any], field: dataclasses.Field[Any], *, optional: bool = False) -> Any:
    """Return the type of a dataclass's field with its description, as pydantic takes it."""
    hint = option_type(configures, field)
    extras = getattr(hint, "__metadata__", ())
    about = next((extra.documentation for extra in extras if isinstance(extra, Doc)), None)
    former = [key.split(".")[1] for key, name in RENAMED.items() if name == field.name]
    alias = AliasChoices(field.name, *former) if former else None
    listed = _as_list(bare(hint))
    return Annotated[listed | None if optional else listed, *extras, Field(description=about, validation_alias=alias)]


def _options(configures: type[Any], **fields: Any) -> type[_Options]:
    for field in dataclasses.fields(configures):
        fields[field.name] = (option(configures, field), _default(field))
    name = f"{configures.__name__.removesuffix('Section')}Section"
    made: type[_Options] = create_model(name, __base__=_Options, __doc__=inspect.getdoc(configures), **fields)
    made.configures = configures
    return made


def _fields(options: Any, info: SerializationInfo) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: value for name, value in values.items() if value is not None or not info.exclude_none}


def _as_list(hint: Any) -> Any:
    """Return the type of a tuple as that of a list of its length, because errors and editors count its items."""
    items = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    if not items or ... in items or len(set(items)) > 1:
        return hint
    listed: Any = types.GenericAlias(tuple, (items[0], ...))
    return Annotated[listed, Field(min_length=len(items), max_length=len(items))]


def _default(field: dataclasses.Field[Any]) -> Any:
    return ... if field.default is dataclasses.MISSING else field.default


def _summary(configures: type[Any]) -> str:
    return (inspect.getdoc(configures) or configures.__name__).split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    first = {value: position for position, value in reversed(list(enumerate(values)))}
    repeated = [position for position, value in enumerate(values) if first[value] != position]
    if repeated:
        raise refusal(problem((position,), f"{values[position]!r} is listed twice") for position in repeated)
    return values


Distinct = AfterValidator(_check_distinct)
