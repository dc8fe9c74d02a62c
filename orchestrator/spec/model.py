"""The spec of a sweep: the strict form of its YAML file, and the JSON Schema that editors read."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from models.architecture import Architecture
from models.architectures.registry import ARCHITECTURES
from orchestrator.scheduling.resources import Priority
from orchestrator.scheduling.retries import RetryPolicy
from orchestrator.spec.evaluation import EvaluationSection
from orchestrator.spec.methods import AnyMethodSection, Seeds, SelectionSection
from orchestrator.spec.running import BudgetSection, NotifySection, ResourcesSection
from orchestrator.spec.section import Section, one_of, options_of, problem, refusal
from workers.data.dataset import Dataset
from workers.data.registry import DATASETS
from workers.trial import Objective, Training

LONGEST_NAME = 80
NOT_SCALED = ("name", "scale", "scaled")
VARIED: dict[str, tuple[type[Any], ...]] = {
    "dataset": tuple(DATASETS.values()),
    "architecture": tuple(ARCHITECTURES.values()),
    "objective": (Objective,),
    "training": (Training,),
}
"""The sections that a grid may vary, with the dataclasses of their options."""


def _check_name(name: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}", name) or name in {".", ".."}:
        message = (
            f"{name!r} cannot name a sweep; use 1 to {LONGEST_NAME} letters, digits, '.', '_' or '-', "
            "and neither '.' nor '..'"
        )
        raise refusal([problem((), message)])
    return name


def _known_paths() -> list[str]:
    """Return the paths that a grid may vary in any spec."""
    found = (
        f"{section}.{field.name}"
        for section, configured in VARIED.items()
        for configures in configured
        for field in fields(configures)
    )
    return list(dict.fromkeys(found))


def _list_paths(schema: dict[str, Any]) -> None:
    """Put the paths that a grid may vary into the JSON Schema of a grid."""
    values = {"type": "array", "minItems": 1, "description": "The values to try."}
    for branch in schema.get("anyOf", [schema]):
        if branch.get("type") == "object":
            branch["properties"] = dict.fromkeys(_known_paths(), values)
            branch["additionalProperties"] = False


def _list_keys(schema: dict[str, Any]) -> None:
    """Put the keys that a scale may change into the JSON Schema of scales, except positions in lists."""
    keys = [*_known_paths(), *(f"evaluation.{field.name}" for field in fields(EvaluationSection)), "seeds"]
    scale = {
        "type": "object",
        "minProperties": 1,
        "description": "Dotted keys, as for --set, and their values at this scale.",
        "properties": {key: {"description": f"The value of {key} at this scale."} for key in keys},
        "propertyNames": {"not": {"enum": list(NOT_SCALED)}},
    }
    for branch in schema.get("anyOf", [schema]):
        if branch.get("type") == "object":
            branch["additionalProperties"] = scale
            branch["propertyNames"] = {"minLength": 1}


class ScaledSection(Section):
    """The scale of this spec, written by `--scale`, so that everything made of the spec can name it."""

    by: Annotated[str, Field(min_length=1, description="The name of the scale.")]
    full: Annotated[
        dict[str, Any],
        Field(description="The values, without the scale, of the options that it changes, by dotted key."),
    ]


class SweepSpec(Section):
    """A sweep: the methods to compare, the data and the network, and how to train and evaluate."""

    name: Annotated[
        str,
        AfterValidator(_check_name),
        Field(
            description="The name of the sweep in the store, in reports and in MLflow.",
            json_schema_extra={"pattern": f"^[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}$"},
        ),
    ]
    description: Annotated[str, Field(description="Free text for readers of the report.")] = ""
    dataset: Annotated[Dataset, one_of(DATASETS), Field(description="The data and its preparation.")]
    architecture: Annotated[Architecture, one_of(ARCHITECTURES), Field(description="The network of every method.")]
    objective: Annotated[Objective, options_of(Objective), Field(description="The loss to minimise.")] = Objective()
    methods: Annotated[tuple[AnyMethodSection, ...], Field(min_length=1, description="The methods to compare.")]
    training: Annotated[Training, options_of(Training), Field(description="How to train every trial.")]
    selection: Annotated[
        SelectionSection | None, Field(description="A first stage that selects the learning rate of each method.")
    ] = None
    seeds: Annotated[Seeds, Field(description="Random seeds; every trial runs once with each.")] = (0,)
    grid: Annotated[
        dict[str, tuple[Any, ...]] | None,
        Field(
            min_length=1,
            description="Values to try for options of other sections, by dotted path; every combination is run.",
            json_schema_extra=_list_paths,
        ),
    ] = None
    evaluation: Annotated[
        EvaluationSection, options_of(EvaluationSection), Field(description="What to evaluate on every trained model.")
    ] = EvaluationSection()
    resources: Annotated[
        ResourcesSection, options_of(ResourcesSection), Field(description="Resources of each trial.")
    ] = ResourcesSection()
    priority: Annotated[
        Priority,
        Field(description="Priority among the sweeps of a cluster; a high one may preempt trials of lower ones."),
    ] = "normal"
    retries: Annotated[
        RetryPolicy, options_of(RetryPolicy), Field(description="Retries of interrupted trials, by cause.")
    ] = RetryPolicy()
    budget: Annotated[BudgetSection | None, Field(description="The largest cost of the sweep.")] = None
    notify: Annotated[NotifySection | None, Field(description="A notification when the sweep ends.")] = None
    scale: Annotated[
        dict[str, Annotated[dict[str, Any], Field(min_length=1)]] | None,
        Field(
            min_length=1,
            description="Other sizes of this sweep, by name, for --scale NAME; for example a small one for a test.",
            json_schema_extra=_list_keys,
        ),
    ] = None
    scaled: Annotated[
        ScaledSection | None, Field(description="Written by --scale: the scale of this spec, and what it changed.")
    ] = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec, with every option of every dataset and architecture."""
    schema = SweepSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
