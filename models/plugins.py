"""Registries of configuration classes: the built-in ones, and plug-ins from other installed packages.

A package adds a class by an entry point in the registry's group; the entry point's name is the class's `name`. A class
that cannot be used is left out with a warning, and specs that do not name it still work. This module imports no torch,
because planning reads registries.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
import typing
from importlib import metadata
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from models.options import bare, option_type

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN = (bool, int, float, str, types.NoneType)
"""The types of an option's values, which JSON, and so a trial's identity, preserves."""


class Configuration(Protocol):
    """A class that a registry can hold."""

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

    `packages` has the package of each plug-in's class. `left_out` has, by name, the reason why a plug-in's class is not
    in the registry. A name in two packages is left out, because a trial with that name would be ambiguous.
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

        `kind` is the word for one class in messages. `required` are the members that a plug-in's subclass of `base`
        must have. `entries` are the entry points; None: the installed ones in the group of this kind.
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
            self._leave_out(name, f"{' and '.join(owners)} each define it; uninstall or rename one")
            return
        try:
            configures = _loaded(entries[0])
            _check(configures, name, base, self.required)
        except _NotUsableError as error:
            self._leave_out(name, f"{packages[0]} names {entries[0].value}, but {error}; fix or uninstall it")
            return
        self[name] = configures
        self.packages[name] = packages[0]

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out[name] = f"{self.kind} {name!r} cannot be used: {reason}"
        import logging  # planning needs it for this alone

        logging.getLogger(__name__).warning("%s", self.left_out[name])


class _NotUsableError(Exception):
    """Why a plug-in cannot be used, to follow "but"."""


@functools.cache
def _installed() -> Any:  # its name differs between Python versions; each has `select`
    # This reads the metadata of all installed packages, so it runs once per process, not once per registry.
    return metadata.entry_points()


def _package(entry: metadata.EntryPoint) -> Package:
    distribution: Any = entry.dist  # not None for installed packages
    return Package(distribution.name, distribution.version)


def _loaded(entry: metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # a broken plug-in must not stop specs without it
        raise _NotUsableError(f"importing that raised {type(error).__name__}: {error}") from error


def _check(configures: Any, name: str, base: type[Any], required: tuple[str, ...]) -> None:
    """Raise _NotUsableError unless this is a complete frozen dataclass of that name, with plain options."""
    whole_base = f"{base.__module__}.{base.__qualname__}"
    if not (isinstance(configures, type) and issubclass(configures, base)):
        raise _NotUsableError(f"that is no subclass of {whole_base}")
    # A subclass of a dataclass without the decorator is a dataclass too, but its additional fields are ignored.
    if "__dataclass_fields__" not in vars(configures):
        raise _NotUsableError("that is not decorated with @dataclass(frozen=True)")
    if getattr(configures, "name", None) != name:
        raise _NotUsableError(f"its `name` is {getattr(configures, 'name', None)!r}; it must be the entry point's")
    options = {field.name: field for field in dataclasses.fields(configures)}
    for member in required:
        if member not in options and getattr(configures, member, None) is getattr(base, member, None):
            raise _NotUsableError(f"it has no `{member}`, which {whole_base} requires")
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
    hint = bare(hint)
    if typing.get_origin(hint) is Literal:
        return all(type(choice) in PLAIN for choice in typing.get_args(hint))
    if typing.get_origin(hint) in {tuple, typing.Union, types.UnionType}:
        return all(item is ... or _is_plain(item) for item in typing.get_args(hint))
    return hint in PLAIN
