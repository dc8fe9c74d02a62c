"""The sections of a spec about how a sweep is run. They change no number, and are not part of a trial's identity."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Doc

from orchestrator.spec.section import Distinct, Section, at_key, problem, refusal
from workers.trial import ResourceOptions, Resources, Training

Event = Literal["finished", "failed", "gate-broken"]
EVENTS: tuple[Event, ...] = get_args(Event)
FINISHED, FAILED, GATE_BROKEN = EVENTS

VARIABLE_PREFIX = "MRVAE_NOTIFY_"
"""Prefix of the environment variables that a spec may name. It can have no other variable read, sent or run."""


@dataclass(frozen=True, kw_only=True)
class ResourcesSection(ResourceOptions):
    """Resources of each trial while it runs. They change no result."""

    cpus: Annotated[float | None, Doc("CPU cores for each rank; `training.threads` if omitted.")] = None

    def __post_init__(self) -> None:
        self.for_training(Training(epochs=1))

    def for_training(self, training: Training) -> Resources:
        """Return the resources of a trial with this training. Raises ValueError if no trial can have them."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return Resources(**{**options, "cpus": float(training.threads) if self.cpus is None else self.cpus})


class BudgetSection(Section):
    """The largest cost of the sweep. No trial starts that would exceed it; raise it and submit again to resume."""

    device_hours: Annotated[
        float,
        Field(
            gt=0,
            description="Hours of all GPUs together if trials use GPUs, otherwise of CPU cores, over all attempts at "
            "all trials of the sweep.",
        ),
    ]


def _check_variable(name: str) -> str:
    if not re.fullmatch(rf"{VARIABLE_PREFIX}[A-Z0-9_]+", name):
        message = (
            f"this must be the name of an environment variable that begins with {VARIABLE_PREFIX}, such as "
            f"{VARIABLE_PREFIX}TEAM; its value is not part of the spec"
        )
        raise refusal([problem((), message)])
    return name


VariableName = Annotated[str, AfterValidator(_check_variable)]


class NotifySection(Section):
    """A notification when the sweep ends: a webhook, or a command chosen by the owner of the machine."""

    url_from: Annotated[
        VariableName | None,
        Field(description=f"Environment variable, {VARIABLE_PREFIX}…, with the address to send JSON to by HTTP POST."),
    ] = None
    command: Annotated[
        VariableName | None,
        Field(
            description=f"Environment variable, {VARIABLE_PREFIX}…, with a program and its arguments. The program gets "
            "JSON on its standard input; no shell is involved."
        ),
    ] = None
    on: Annotated[tuple[Event, ...], Field(min_length=1, description="The events to report."), Distinct] = EVENTS

    @model_validator(mode="before")
    @classmethod
    def _refuse_url(cls, content: Any) -> Any:
        if isinstance(content, dict) and "url" in content:
            message = (
                "an address can be a secret, and specs are shown in reports and in MLflow; put the address into an "
                f"environment variable, such as {VARIABLE_PREFIX}TEAM, and write url_from: {VARIABLE_PREFIX}TEAM"
            )
            raise refusal([at_key(("url",), message)])
        return content

    @model_validator(mode="after")
    def _check_one_way(self) -> NotifySection:
        ways = ("url_from", "command")
        given = [way for way in ways if getattr(self, way) is not None]
        if not given:
            raise refusal([at_key((), f"one of {', '.join(ways)} is missing")])
        if len(given) > 1:
            raise refusal([at_key((given[1],), f"'{given[0]}' is there already; keep one of the two")])
        return self
