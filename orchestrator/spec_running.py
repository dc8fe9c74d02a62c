"""How a spec is run: what each trial holds, and what comes of interruptions, of a budget and of the end.

None of it is identity: it changes no number of any trial.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from orchestrator.sections import Distinct, OneOf, Section, at_key, named_first, problem, refusal
from workers.trial import Resources, Training

PRIORITIES = ("low", "normal", "high")
USUAL_PRIORITY = "normal"

FINISHED, FAILED, GATE_BROKEN = "finished", "failed", "gate-broken"
EVENTS = (FINISHED, FAILED, GATE_BROKEN)

VARIABLE_PREFIX = "MRVAE_NOTIFY_"
"""Of the environment variables that a spec may name: it can have no other one read, sent to or run."""


class ResourcesSection(Section):
    """What a trial holds while it runs; the same trial on other hardware is the same trial."""

    cpus: Annotated[float | None, Field(description="CPU cores of a rank; `training.threads` where left out.")] = None
    gpus: Annotated[float, Field(description="GPUs of a rank; a fraction shares one.")] = Resources.gpus
    memory_gib: Annotated[float, Field(description="Memory set aside for a rank, in GiB; 0 sets none aside.")] = (
        Resources.memory_gib
    )
    gpu_kind: Annotated[
        str, Field(description="The GPU it must be, by Ray's name of it, such as H200; left out, any.")
    ] = Resources.gpu_kind
    ranks: Annotated[
        int, Field(description="Processes that share every batch of a trial, each with all of the above (DDP).")
    ] = Resources.ranks
    least_ranks: Annotated[
        int, Field(description="How few ranks a trial may go on with when some were lost; 0 waits for all of them.")
    ] = Resources.least_ranks

    def for_training(self, training: Training) -> Resources:
        """Return what a trial with this training holds. Raises ValueError where no trial can hold that."""
        return Resources(
            cpus=float(training.threads) if self.cpus is None else self.cpus,
            gpus=self.gpus,
            memory_gib=self.memory_gib,
            gpu_kind=self.gpu_kind,
            ranks=self.ranks,
            least_ranks=self.least_ranks,
        )

    @model_validator(mode="after")
    def _check_resources(self) -> ResourcesSection:
        try:
            self.for_training(Training(epochs=1))
        except ValueError as error:
            field = named_first(str(error), type(self).model_fields)
            raise refusal([problem((field,) if field else (), str(error))]) from error
        return self


Times = Annotated[int, Field(ge=0, le=1000)]


class RetriesSection(Section):
    """How often a trial is tried again, by what ended its last attempt; a failure of its own is not tried again."""

    interruptions: Annotated[
        Times,
        Field(description="After its machine or worker was lost; giving way to another sweep does not count."),
    ] = 50
    without_progress: Annotated[
        Times, Field(description="After such a loss, in a row, without having come any further.")
    ] = 3
    store: Annotated[Times, Field(description="After an error of a disk, a network or an object store, in a row.")] = 5
    memory: Annotated[Times, Field(description="After a device ran out of memory.")] = 1
    hung: Annotated[Times, Field(description="After it stood still for `hung_after_minutes` and was ended.")] = 2
    hung_after_minutes: Annotated[
        float, Field(gt=0, description="So long without a step, a trial is taken to hang.")
    ] = 20.0
    back_off_seconds: Annotated[
        float, Field(ge=0, description="The pause before the first such retry; it doubles with each one in a row.")
    ] = 1.0

    def values(self) -> dict[str, Any]:
        """Return them as the fields of `orchestrator.retries.RetryPolicy`, in seconds."""
        counts = self.model_dump(exclude={"hung_after_minutes"})
        return {**counts, "hung_after_seconds": 60 * self.hung_after_minutes}


class BudgetSection(Section):
    """What the sweep may cost: near the end of it no further trial starts; raise it and submit again to go on."""

    device_hours: Annotated[
        float,
        Field(
            gt=0,
            description="Hours of all GPUs together where trials hold any, else of CPU cores, over all attempts of all "
            "trials of the sweep.",
        ),
    ]


def _check_variable(name: str) -> str:
    if not re.fullmatch(rf"{VARIABLE_PREFIX}[A-Z0-9_]+", name):
        message = (
            f"this must be the name of an environment variable that begins with {VARIABLE_PREFIX}, "
            f"such as {VARIABLE_PREFIX}TEAM; its value stays out of the spec"
        )
        raise refusal([problem((), message)])
    return name


def _check_url(url: str) -> str:
    if reason := _refused(url):
        # The URL itself is not repeated: it may be a secret.
        raise refusal([problem((), reason)])
    return url


def _refused(url: str) -> str | None:
    if not is_web_address(url):
        return "this is no web address; it must begin with http:// or https:// and a host"
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment or _holds_token(parts.path):
        return (
            "this looks like an address with a secret in it, and a spec is shown in reports and in MLflow; put it into "
            f"an environment variable, such as {VARIABLE_PREFIX}TEAM, and write `url_from: {VARIABLE_PREFIX}TEAM`"
        )
    return None


def is_web_address(text: str) -> bool:
    """Whether a text is an address that JSON can be sent to by HTTP."""
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return well_formed and parts.scheme in {"http", "https"} and re.fullmatch("[!-~]+", text) is not None


def _holds_token(path: str) -> bool:
    """Return whether a path has what people do not write: long unbroken words, or shorter ones with digits."""
    return re.search(r"[A-Za-z0-9]{20}|(?=[A-Za-z]*\d)[A-Za-z0-9]{8}", path) is not None


VariableName = Annotated[str, AfterValidator(_check_variable)]
WebAddress = Annotated[str, AfterValidator(_check_url)]


class NotifySection(Section):
    """Who is told of the end of a sweep: one webhook, or one command that the owner of the machine has defined."""

    url: Annotated[
        WebAddress | None,
        Field(description="Where JSON is sent by HTTP POST; an address with a secret in it goes to `url_from`."),
    ] = None
    url_from: Annotated[
        VariableName | None,
        Field(description=f"An environment variable, {VARIABLE_PREFIX}…, that holds the address to send JSON to."),
    ] = None
    command: Annotated[
        VariableName | None,
        Field(
            description=f"An environment variable, {VARIABLE_PREFIX}…, that holds a program and its arguments; it gets "
            "JSON on its standard input. No shell is involved."
        ),
    ] = None
    on: Annotated[
        tuple[Annotated[str, OneOf(EVENTS)], ...],
        Field(min_length=1, description="What to tell of."),
        Distinct,
    ] = EVENTS

    @model_validator(mode="after")
    def _check_one_way(self) -> NotifySection:
        ways = ("url", "url_from", "command")
        given = [way for way in ways if getattr(self, way) is not None]
        if not given:
            raise refusal([at_key((), f"one of {', '.join(ways)} is missing")])
        if len(given) > 1:
            raise refusal([at_key((given[1],), f"'{given[0]}' is there already; keep one of the two")])
        return self
