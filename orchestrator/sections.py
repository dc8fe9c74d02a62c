"""The strict pieces that a spec is made of, most of them made from the dataclasses they configure.

A section has the fields, types and defaults of its dataclass, which stay in one place, and its docstring's
words for editors. What the dataclass refuses becomes an error at the field that its message names first.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from models.plugins import option_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Location = tuple[str | int, ...]
"""Where in a spec: keys and list positions, from the top."""

MOST_GRID_POINTS = 10_000
SHORT_DIGITS = 6


def problem(location: Location, message: str) -> InitErrorDetails:
    """Return something wrong with a value whose type is right; the location is below what is validated."""
    return InitErrorDetails(type=PydanticCustomError("problem", "{text}", {"text": message}), loc=location, input=None)


def at_key(location: Location, message: str) -> InitErrorDetails:
    """Return something wrong with the key that ends the location, rather than with its value."""
    return InitErrorDetails(type=PydanticCustomError("key", "{text}", {"text": message}), loc=location, input=None)


def moved(error: ErrorDetails, location: Location) -> InitErrorDetails:
    """Return one of pydantic's own errors as an error further down."""
    context = error.get("ctx", {})
    return InitErrorDetails(type=error["type"], loc=(*location, *error["loc"]), input=error["input"], ctx=context)


def refusal(problems: Iterable[InitErrorDetails]) -> ValidationError:
    """Return the error to raise for these problems."""
    return ValidationError.from_exception_data("spec", list(problems))


def named_first(message: str, fields: Iterable[str]) -> str | None:
    """Return the field that a message names first, or None where it names none."""
    known = set(fields)
    return next((word for word in re.findall(r"\w+", message) if word in known), None)


class Section(BaseModel):
    """A mapping of known keys to values of exact types: nothing is converted, ignored, infinite or NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _freeze_lists(cls, content: Any) -> Any:
        return frozen(content)


def frozen(content: Any) -> Any:
    """Return plain data with its lists as tuples, all the way down."""
    if isinstance(content, dict):
        return {key: frozen(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return tuple(frozen(value) for value in content)
    return content


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Annotates a text field that takes one of the given choices."""

    choices: tuple[str, ...]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.choices))


class ConfiguredSection(Section):
    """A section that holds the options of a dataclass."""

    configures: ClassVar[type[Any]]

    def configuration(self) -> Any:
        """Return the dataclass with these options. Raises ValueError where it refuses them."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self.configures)}
        return self.configures(**options)

    @model_validator(mode="after")
    def _check_configuration(self) -> ConfiguredSection:
        try:
            self.configuration()
        except ValueError as error:
            field = named_first(str(error), type(self).model_fields)
            raise refusal([problem((field,) if field else (), str(error))]) from error
        return self


class Wording(NamedTuple):
    """What a dataclass does not say of its fields: the choices of text, and descriptions for editors."""

    choices: Mapping[str, tuple[str, ...]]
    descriptions: Mapping[str, str]


def section(configures: type[Any], wording: Wording, tag: tuple[str, str] | None = None) -> type[ConfiguredSection]:
    """Return the section of a dataclass; `tag` is the key and the value that choose it among others."""
    fields: dict[str, Any] = {}
    if tag:
        fields[tag[0]] = (Literal[tag[1]], Field(description=_summary(configures)))
    for field, hint, about in _options(configures, wording):
        fields[field.name] = (Annotated[hint, Field(description=about)], _default(field))
    made: type[ConfiguredSection] = create_model(
        f"{configures.__name__}Section",
        __base__=ConfiguredSection,
        __doc__=inspect.getdoc(configures),
        **fields,
    )
    made.configures = configures
    return made


def overrides_section(configures: type[Any], wording: Wording) -> type[Section]:
    """Return a section in which every field of the dataclass may be left out."""
    fields: dict[str, Any] = {
        field.name: (Annotated[hint | None, Field(description=about)], None)
        for field, hint, about in _options(configures, wording)
    }
    about = f"Options of {configures.__name__.lower()} that differ here; what is left out stays as it is."
    return create_model(f"{configures.__name__}Overrides", __base__=Section, __doc__=about, **fields)


def one_of_sections(configured: Mapping[str, type[Any]], wording: Wording) -> Any:
    """Return the union of the sections of a registry, chosen by the key `name`."""
    sections = [section(configures, wording, tag=("name", name)) for name, configures in configured.items()]
    return Annotated[typing.Union[tuple(sections)], Field(discriminator="name")]  # noqa: UP007 (made at run time)


def _options(configures: type[Any], wording: Wording) -> Iterable[tuple[dataclasses.Field[Any], Any, str | None]]:
    for field in dataclasses.fields(configures):
        choices = wording.choices.get(field.name)
        hint = Annotated[str, OneOf(choices)] if choices else _as_list(option_type(configures, field))
        about = _docstring_words(configures, field.name) or wording.descriptions.get(field.name)
        yield field, hint, about


def _as_list(hint: Any) -> Any:
    """Return a tuple's type as a list of that length, about which errors and editors speak of a length."""
    items = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    if not items or ... in items or len(set(items)) > 1:
        return hint
    listed: Any = types.GenericAlias(tuple, (items[0], ...))
    return Annotated[listed, Field(min_length=len(items), max_length=len(items))]


def _default(field: dataclasses.Field[Any]) -> Any:
    return ... if field.default is dataclasses.MISSING else field.default


def _summary(configures: type[Any]) -> str:
    return (inspect.getdoc(configures) or configures.__name__).split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _docstring_words(configures: type[Any], field: str) -> str | None:
    """Return the sentence that names the field in the docstring of the dataclass or of what it extends."""
    for documented in configures.__mro__:
        text = " ".join((documented.__dict__.get("__doc__") or "").split())
        for sentence in re.split(r"(?<=[.;])\s+(?=[A-Z`])", text):
            if f"`{field}`" in sentence:
                return sentence
    return None


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    first = {value: position for position, value in reversed(list(enumerate(values)))}
    repeated = [position for position, value in enumerate(values) if first[value] != position]
    if repeated:
        raise refusal(problem((position,), f"{values[position]!r} is listed twice") for position in repeated)
    return values


Distinct = AfterValidator(_check_distinct)
Beta = Annotated[float, Field(gt=0, description="The weight on the rate, above 0.")]


class BetaGrid(Section):
    """β spaced evenly on a log scale, both ends included, rounded to six significant digits."""

    start: Annotated[Beta, Field(alias="from", description="The smallest β.")]
    stop: Annotated[Beta, Field(alias="to", description="The largest β.")]
    count: Annotated[int, Field(ge=2, le=MOST_GRID_POINTS, description="How many β, the two ends included.")]

    @model_validator(mode="after")
    def _check_range(self) -> BetaGrid:
        if self.start >= self.stop:
            message = f"the range runs from {self.start:g} to {self.stop:g}; the first must be the smaller"
            raise refusal([problem(("from",), message)])
        if len(set(self.values())) < self.count:
            raise refusal([problem(("count",), f"{self.count} β are too many for so narrow a range")])
        return self

    def values(self) -> tuple[float, ...]:
        """Return the β, smallest first."""
        return log_spaced(self.start, self.stop, self.count)


def log_spaced(start: float, stop: float, count: int) -> tuple[float, ...]:
    """Return `count` (2 or more) β evenly spaced on a log scale between two ends, which are kept exactly.

    Those between are rounded to six digits: what is printed is then the very β, whoever writes it again
    shares its trials, and the last bits of another machine's arithmetic make no other trial.
    """
    fractions = (step / (count - 1) for step in range(1, count - 1))
    between = (start ** (1 - fraction) * stop**fraction for fraction in fractions)
    return (start, *(float(f"{beta:.{SHORT_DIGITS}g}") for beta in between), stop)


def _form_of_betas(content: Any) -> str:
    return "BetaGrid" if isinstance(content, (dict, BetaGrid)) else "array"


BetaList = Annotated[tuple[Beta, ...], Field(min_length=1, description="The β, one by one."), Distinct]
Betas = Annotated[
    Annotated[BetaList, Tag("array")] | Annotated[BetaGrid, Tag("BetaGrid")],
    Discriminator(_form_of_betas),
]
"""A list of β or a grid; both forms are told apart by what is written."""


def beta_values(betas: Sequence[float] | BetaGrid) -> tuple[float, ...]:
    """Return the β of a list or a grid."""
    return betas.values() if isinstance(betas, BetaGrid) else tuple(betas)
