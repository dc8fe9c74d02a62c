"""The grid of a spec: the options that it may vary, and the setting of each combination."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from orchestrator.spec.model import VARIED
from orchestrator.spec.section import STRICT, option
from workers.numerics import NUMERICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.architecture import Architecture
    from orchestrator.spec.model import SweepSpec
    from workers.data.dataset import Dataset
    from workers.trial import Objective, Training

Assignment = tuple[tuple[str, Any], ...]
"""The values that one combination of the grid gives to dotted paths, in the order of the spec."""


@dataclass(frozen=True)
class Setting:
    """The options of one combination of the grid, before the overrides of methods, and the version of the numbers."""

    assignment: Assignment
    dataset: Dataset
    architecture: Architecture
    objective: Objective
    training: Training
    numerics: int = NUMERICS


def paths_of(spec: SweepSpec) -> list[str]:
    """Return the paths that a grid may vary in this spec, with its dataset and architecture."""
    return [f"{section}.{field.name}" for section in VARIED for field in fields(getattr(spec, section))]


def checked_value(spec: SweepSpec, path: str, value: Any) -> Any:
    """Return a value of the grid as its field takes it. Raises pydantic's ValidationError where it does not."""
    section, name = path.split(".")
    adapter = _adapter(type(getattr(spec, section)), name)  # type: ignore[arg-type]  # mypy: a class has no hash
    return adapter.validate_python(value)


def axes(spec: SweepSpec, section: str = "") -> list[Assignment]:
    """Return each path of the grid, or of one section of it, with its values, as a row of pairs."""
    return [
        tuple((path, checked_value(spec, path, value)) for value in values)
        for path, values in (spec.grid or {}).items()
        if path.startswith(section)
    ]


def configured(spec: SweepSpec, section: str) -> dict[Assignment, Any]:
    """Return the options of a section for each combination of the grid's values within it.

    Raises ValueError where the dataclass refuses a combination, which no valid spec has.
    """
    plain = getattr(spec, section)
    combinations = itertools.product(*axes(spec, f"{section}."))
    return {assignment: assigned(plain, assignment) for assignment in combinations}


def assigned(plain: Any, assignment: Assignment) -> Any:
    """Return options with the values of an assignment. Raises ValueError where the dataclass refuses them."""
    return replace(plain, **options(assignment))


def options(assignment: Assignment) -> dict[str, Any]:
    """Return the values of an assignment within one section by the names of their fields."""
    return {path.split(".")[1]: value for path, value in assignment}


def settings(spec: SweepSpec) -> Iterator[Setting]:
    """Yield the setting of every combination of the grid; the last path varies fastest."""
    parts = {section: configured(spec, section) for section in VARIED}
    for assignment in itertools.product(*axes(spec)):
        chosen = {section: choices[_within(section, assignment)] for section, choices in parts.items()}
        yield Setting(assignment=assignment, **chosen)


def _within(section: str, assignment: Assignment) -> Assignment:
    return tuple(pair for pair in assignment if pair[0].startswith(f"{section}."))


@lru_cache(maxsize=256)
def _adapter(configures: type[Any], name: str) -> TypeAdapter[Any]:
    field = next(field for field in fields(configures) if field.name == name)
    return TypeAdapter(option(configures, field), config=STRICT)
