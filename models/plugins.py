"""Registries of configuration classes: the built-in ones, and those that other installed packages bring.

A package brings one by an entry point in the registry's group, whose name is the class's `name`. One that cannot be
used is left out with a warning, and everything that does not name it goes on. No torch is imported here: planning reads
registries.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import logging
import sys
import types
import typing
from importlib import metadata
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

LOGGER = logging.getLogger(__name__)
PLAIN = (bool, int, float, str, types.NoneType)
"""The types of an option's values: those that JSON, and so a trial's identity, keeps as they are."""


class Configuration(Protocol):
    """What a registry holds classes of."""

    name: typing.ClassVar[str]


AnyConfiguration = TypeVar("AnyConfiguration", bound=Configuration)


class Package(NamedTuple):
    """An installed distribution."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Registry(dict[str, type[AnyConfiguration]], Generic[AnyConfiguration]):
    """Frozen configuration classes by their names.

    `packages` has the package of each class that a plug-in brought. `left_out` has, by name, why a plug-in's class is
    not here; a name that two packages want is neither's, because a trial of that name could mean either.
    """

    def __init__(
        self,
        kind: str,
        base: type[AnyConfiguration],
        builtin: Iterable[type[AnyConfiguration]],
        *,
        required: Iterable[str] = (),
        entries: Iterable[metadata.EntryPoint] | None = None,
    ) -> None:
        """Collect the classes.

        `kind` is what one of them is called. `required` are the members that a plug-in's subclass of `base` must have.
        `entries` are the entry points; None takes those that are installed in the group of this kind.
        """
        super().__init__({configures.name: configures for configures in builtin})
        self.kind = kind
        self.required = tuple(required)
        self.packages: dict[str, Package] = {}
        self.left_out: dict[str, str] = {}
        if entries is None:
            entries = _installed().select(group=f"mrvae_orch.{kind}s")
        for name, found in itertools.groupby(sorted(entries, key=attrgetter("name")), attrgetter("name")):
            self._add(name, list(found), base)

    def __missing__(self, name: str) -> type[AnyConfiguration]:
        reason = f"there is no {self.kind} {name!r}; if it is a plug-in's, install its package here too"
        raise KeyError(self.left_out.get(name, reason))

    def _add(self, name: str, entries: list[metadata.EntryPoint], base: type[AnyConfiguration]) -> None:
        packages = sorted(_package(entry) for entry in entries)
        if name in self or len(entries) > 1:
            owners = ["mrvae-orch itself"] * (self.pop(name, None) is not None) + [str(each) for each in packages]
            self._leave_out(name, f"{' and '.join(owners)} have one each; uninstall or rename one")
            return
        try:
            configures = _loaded(entries[0])
            _check(configures, name, base, self.required)
        except _NotUsableError as error:
            self._leave_out(name, f"{packages[0]} says it is {entries[0].value}, but {error}; mend or uninstall it")
            return
        self[name] = configures
        self.packages[name] = packages[0]

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out[name] = f"{self.kind} {name!r} cannot be used: {reason}"
        LOGGER.warning("%s", self.left_out[name])


def option_type(configures: type[Any], field: dataclasses.Field[Any]) -> Any:
    """Return the type of a dataclass's field, its annotation being read where the field was declared.

    Raises NameError where the annotation names what its module does not have at run time.
    """
    # One annotation at a time: those of class variables may name what only type checkers import.
    owner = next(base for base in configures.__mro__ if field.name in inspect.get_annotations(base))
    holder = types.SimpleNamespace(__annotations__={field.name: field.type})
    return typing.get_type_hints(holder, globalns=vars(sys.modules[owner.__module__]))[field.name]


class _NotUsableError(Exception):
    """Why a plug-in cannot be used, to follow "but"."""


@functools.cache
def _installed() -> Any:  # what it is called differs between Pythons; each has `select`
    # All installed packages are looked through for this: once a process, not once a registry.
    return metadata.entry_points()


def _package(entry: metadata.EntryPoint) -> Package:
    distribution: Any = entry.dist  # what is installed always has one
    return Package(distribution.name, distribution.version)


def _loaded(entry: metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # whatever a plug-in's module raises must not stop what does without it
        raise _NotUsableError(f"importing that raised {type(error).__name__}: {error}") from error


def _check(configures: Any, name: str, base: type[Any], required: tuple[str, ...]) -> None:
    """Raise _NotUsableError unless this is a complete frozen dataclass of that name, with plain options."""
    whole_base = f"{base.__module__}.{base.__qualname__}"
    if not (isinstance(configures, type) and issubclass(configures, base)):
        raise _NotUsableError(f"that is no subclass of {whole_base}")
    # Subclasses of a dataclass are dataclasses too, in which fields of their own would count for nothing.
    if "__dataclass_fields__" not in vars(configures):
        raise _NotUsableError("that is not decorated with @dataclass(frozen=True)")
    if getattr(configures, "name", None) != name:
        raise _NotUsableError(f"its `name` is {getattr(configures, 'name', None)!r}; it must be the entry point's")
    options = {field.name: field for field in dataclasses.fields(configures)}
    for member in required:
        if member not in options and getattr(configures, member, None) is getattr(base, member, None):
            raise _NotUsableError(f"it has no `{member}`, which {whole_base} asks for")
    for field in options.values():
        if not _is_plain(_option_type(configures, field)):
            raise _NotUsableError(
                f"its option `{field.name}` is {field.type}; options must be bool, int, float, str or tuples of them"
            )


def _option_type(configures: type[Any], field: dataclasses.Field[Any]) -> Any:
    try:
        return option_type(configures, field)
    except Exception as error:  # an annotation may be any expression
        raise _NotUsableError(f"the type of its option `{field.name}` cannot be read: {error}") from error


def _is_plain(hint: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return all(type(choice) in PLAIN for choice in typing.get_args(hint))
    if typing.get_origin(hint) in {tuple, typing.Union, types.UnionType}:
        return all(item is ... or _is_plain(item) for item in typing.get_args(hint))
    return hint in PLAIN
