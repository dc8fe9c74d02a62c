"""The grid of a spec: the options it may vary, and the settings that come of every combination."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from models.registry import ARCHITECTURES
from workers.data.registry import DATASETS
from workers.trial import Objective, Training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.architecture import Architecture
    from orchestrator.sections import ConfiguredSection
    from orchestrator.spec import SweepSpec
    from workers.data.dataset import Dataset

Assignment = tuple[tuple[str, Any], ...]
"""The values that one combination of the grid gives to dotted paths, in the order of the spec."""

VARIED: dict[str, tuple[type[Any], ...]] = {
    "dataset": tuple(DATASETS.values()),
    "architecture": tuple(ARCHITECTURES.values()),
    "objective": (Objective,),
    "training": (Training,),
}
"""The sections that a grid may vary, with what they may configure."""


@dataclass(frozen=True)
class Setting:
    """What one combination of the grid trains with, before the methods' own overrides."""

    assignment: Assignment
    dataset: Dataset
    architecture: Architecture
    objective: Objective
    training: Training


def known_paths() -> list[str]:
    """Return the paths that a grid may vary in some spec or other."""
    found = (
        f"{section}.{field.name}"
        for section, configured in VARIED.items()
        for configures in configured
        for field in fields(configures)
    )
    return list(dict.fromkeys(found))


def list_paths_in_schema(schema: dict[str, Any]) -> None:
    """Put the paths that a grid may vary into the JSON Schema of a grid."""
    values = {"type": "array", "minItems": 1, "description": "Each of these values is tried."}
    for branch in schema.get("anyOf", [schema]):
        if branch.get("type") == "object":
            branch["properties"] = dict.fromkeys(known_paths(), values)
            branch["additionalProperties"] = False


def paths_of(spec: SweepSpec) -> list[str]:
    """Return the paths that a grid may vary in this spec, given its dataset and architecture."""
    return [f"{section}.{field.name}" for section in VARIED for field in fields(getattr(spec, section).configures)]


def checked_value(spec: SweepSpec, path: str, value: Any) -> Any:
    """Return a value of the grid as its field has it. Raises pydantic's ValidationError where it cannot."""
    section, field = path.split(".")
    content: ConfiguredSection = getattr(spec, section)
    return _adapter(type(content), field).validate_python(value)


def axes(spec: SweepSpec, section: str = "") -> list[Assignment]:
    """Return each path of the grid, or of one section of it, with its values, as a row of pairs."""
    return [
        tuple((path, checked_value(spec, path, value)) for value in values)
        for path, values in (spec.grid or {}).items()
        if path.startswith(section)
    ]


def configured(spec: SweepSpec, section: str) -> dict[Assignment, Any]:
    """Return what a section configures under each combination of the grid within it.

    Raises ValueError where the dataclass refuses a combination, which no valid spec has.
    """
    plain = getattr(spec, section).configuration()
    combinations = itertools.product(*axes(spec, f"{section}."))
    return {assignment: assigned(plain, assignment) for assignment in combinations}


def assigned(plain: Any, assignment: Assignment) -> Any:
    """Return a configuration with the values of an assignment. Raises ValueError where it refuses them."""
    return replace(plain, **options(assignment))


def options(assignment: Assignment) -> dict[str, Any]:
    """Return the values of an assignment by the name of their field, for an assignment within one section."""
    return {path.split(".")[1]: value for path, value in assignment}


def settings(spec: SweepSpec) -> Iterator[Setting]:
    """Yield what every combination of the grid trains with, the last path of the grid varying fastest."""
    parts = {section: configured(spec, section) for section in VARIED}
    for assignment in itertools.product(*axes(spec)):
        chosen = {section: choices[_within(section, assignment)] for section, choices in parts.items()}
        yield Setting(assignment=assignment, **chosen)


def _within(section: str, assignment: Assignment) -> Assignment:
    return tuple(pair for pair in assignment if pair[0].startswith(f"{section}."))


@lru_cache(maxsize=256)
def _adapter(section: type[BaseModel], field: str) -> TypeAdapter[Any]:
    declared = section.model_fields[field]
    hint: Any = Annotated[declared.annotation, declared]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
