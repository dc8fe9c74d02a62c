"""The options of frozen dataclasses: their types, and the choices and descriptions in these. Imports no torch."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from typing import Annotated, Any, Literal

_BEFORE = "before"


def option_type(configures: type[Any], field: dataclasses.Field[Any]) -> Any:
    """Return the type of a dataclass's field with its `Annotated` metadata, resolved in the declaring module.

    A subclass that declares the field again with the plain type, to change the default, keeps the choices and the
    description of its base class. Raises NameError where the annotation has a name that only type checkers import.
    """
    own, *inherited = (
        _declared(base, field.name) for base in configures.__mro__ if field.name in inspect.get_annotations(base)
    )
    return next((hint for hint in inherited if _adds_to(own, hint)), own)


def later(before: Any, *, default: Any = dataclasses.MISSING) -> Any:
    """Return the field of an option that a class got after trials of it were stored.

    `before` is the value with which a trial is what it was without the option. A trial with that value keeps its id:
    the option is then no part of its identity, also where `default` is another value.
    """
    value = before if default is dataclasses.MISSING else default
    return dataclasses.field(default=value, metadata={_BEFORE: before})


def identity(configuration: Any) -> dict[str, Any]:
    """Return the options that identify a configuration: all, except a `later` one at its value from before it."""
    # Faster than dataclasses.asdict, which copies; these configurations are flat.
    options = {field: getattr(configuration, field.name) for field in dataclasses.fields(configuration)}
    return {
        field.name: value
        for field, value in options.items()
        if _BEFORE not in field.metadata or value != field.metadata[_BEFORE]
    }


def bare(hint: Any) -> Any:
    """Return a type without its `Annotated` metadata."""
    return hint.__origin__ if typing.get_origin(hint) is Annotated else hint


def check_choices(configuration: Any) -> None:
    """Raise ValueError where the value of an option is not one of the choices of its `Literal`."""
    for option, choices in _choices(type(configuration)).items():  # type: ignore[arg-type]  # mypy: a class has no hash
        if (value := getattr(configuration, option)) not in choices:
            raise ValueError(f"{option} is {value!r}; choose one of {', '.join(map(str, choices))}")


@functools.cache
def _choices(configures: type[Any]) -> dict[str, tuple[Any, ...]]:
    hints = {field.name: bare(option_type(configures, field)) for field in dataclasses.fields(configures)}
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Literal}


@functools.cache
def _declared(base: type, name: str) -> Any:
    # One annotation at a time: those of class variables may have names that only type checkers import.
    holder = types.SimpleNamespace(__annotations__={name: inspect.get_annotations(base)[name]})
    return typing.get_type_hints(holder, globalns=vars(sys.modules[base.__module__]), include_extras=True)[name]


def _adds_to(own: Any, inherited: Any) -> bool:
    """Return whether an inherited declaration has the same type, or choices of that type, and more metadata."""
    inner = bare(inherited)
    plain = type(typing.get_args(inner)[0]) if typing.get_origin(inner) is Literal else inner
    return inherited != own and own in (inner, plain)
