"""What a sweep is: the strict form of its YAML file, and the JSON Schema that editors read."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from orchestrator.grid import list_paths_in_schema
from orchestrator.scales import ScaledSection, list_keys_in_schema
from orchestrator.sections import OneOf, Section, problem, refusal
from orchestrator.spec_checks import problems_of
from orchestrator.spec_configured import ArchitectureSection, DatasetSection, ObjectiveSection, TrainingSection
from orchestrator.spec_evaluation import EvaluationSection
from orchestrator.spec_methods import AnyMethodSection, Seeds, SelectionSection
from orchestrator.spec_running import (
    PRIORITIES,
    USUAL_PRIORITY,
    BudgetSection,
    NotifySection,
    ResourcesSection,
    RetriesSection,
)

LONGEST_NAME = 80


def _check_name(name: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}", name) or name in {".", ".."}:
        message = (
            f"{name!r} cannot name a sweep; use 1 to {LONGEST_NAME} letters, digits, '.', '_' or '-', "
            "and neither '.' nor '..'"
        )
        raise refusal([problem((), message)])
    return name


class SweepSpec(Section):
    """A sweep: which models are trained on which data, how, and what is measured on them."""

    name: Annotated[
        str,
        AfterValidator(_check_name),
        Field(
            description="The sweep's name in the store, in reports and in MLflow.",
            json_schema_extra={"pattern": f"^[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}$"},
        ),
    ]
    description: Annotated[str, Field(description="Free text for the reader of the report.")] = ""
    dataset: Annotated[DatasetSection, Field(description="The data and how it is prepared.")]
    architecture: Annotated[ArchitectureSection, Field(description="The network of every method.")]
    objective: Annotated[ObjectiveSection, Field(description="What is minimised.")] = ObjectiveSection()
    methods: Annotated[tuple[AnyMethodSection, ...], Field(min_length=1, description="What is compared with what.")]
    training: Annotated[TrainingSection, Field(description="How every trial is trained.")]
    selection: Annotated[
        SelectionSection | None, Field(description="How the learning rate is chosen before the sweep.")
    ] = None
    seeds: Annotated[Seeds, Field(description="Every trial runs once with each seed.")] = (0,)
    grid: Annotated[
        dict[str, tuple[Any, ...]] | None,
        Field(
            min_length=1,
            description="Values to try for options of other sections: trials run at every combination.",
            json_schema_extra=list_paths_in_schema,
        ),
    ] = None
    evaluation: Annotated[EvaluationSection, Field(description="What is measured.")] = EvaluationSection()
    resources: Annotated[ResourcesSection, Field(description="What each trial holds.")] = ResourcesSection()
    priority: Annotated[
        str,
        OneOf(PRIORITIES),
        Field(description="Its rank among the sweeps of a cluster; a high one may have lower ones give way."),
    ] = USUAL_PRIORITY
    retries: Annotated[
        RetriesSection, Field(description="How often an attempt that ends early is followed by another.")
    ] = RetriesSection()
    budget: Annotated[BudgetSection | None, Field(description="What the sweep may cost.")] = None
    notify: Annotated[NotifySection | None, Field(description="Who is told when the sweep has ended.")] = None
    scale: Annotated[
        dict[str, Annotated[dict[str, Any], Field(min_length=1)]] | None,
        Field(
            min_length=1,
            description="Other sizes of this sweep by name, such as a small one to try: what --scale NAME changes.",
            json_schema_extra=list_keys_in_schema,
        ),
    ] = None
    scaled: Annotated[
        ScaledSection | None, Field(description="Written by --scale, into the spec that it makes: the scale it is at.")
    ] = None

    @model_validator(mode="after")
    def _check_across_sections(self) -> SweepSpec:
        if problems := problems_of(self):
            raise refusal(problems)
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec, with every option of every dataset and architecture."""
    schema = SweepSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
