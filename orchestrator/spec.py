"""What a sweep is: the strict form of its YAML file, and the JSON Schema that editors read.

The options of datasets and architectures come from their registries: adding one there adds it here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from models.registry import ARCHITECTURES
from orchestrator.grid import list_paths_in_schema
from orchestrator.scales import ScaledSection, list_keys_in_schema
from orchestrator.sections import (
    Beta,
    Betas,
    ConfiguredSection,
    Distinct,
    OneOf,
    Section,
    Wording,
    beta_values,
    log_spaced,
    named_first,
    one_of_sections,
    overrides_section,
    problem,
    refusal,
    section,
)
from orchestrator.spec_checks import problems_of
from workers.data.dataset import BINARISATIONS
from workers.data.registry import DATASETS
from workers.trial import (
    ANNEALINGS,
    DECODER_GATES,
    ENCODER_GATES,
    LEAST_QUALITY_EXAMPLES,
    LIKELIHOODS,
    METRICS,
    OBJECTIVES,
    PRECISIONS,
    SCHEDULES,
    SPLITS,
    BetaVAE,
    Evaluation,
    Method,
    MultiRateVAE,
    Objective,
    Resources,
    Training,
)

LONGEST_NAME = 80
EVALUATED_BETAS = 20

WORDING = Wording(
    choices={
        "binarise": BINARISATIONS,
        "likelihood": LIKELIHOODS,
        "schedule": SCHEDULES,
        "precision": PRECISIONS,
        "split": SPLITS,
    },
    descriptions={
        "binarise": "How grey pixels become 0 or 1: not at all, at half, drawn once, or drawn at each use.",
        "latent_units": "The number of latent variables.",
        "likelihood": "The model of a pixel; minus its logarithm (or the squared error) is the distortion.",
        "name": "What β weights: the whole rate (beta-elbo), or its total correlation alone (beta-tcvae).",
        "epochs": "Passes over the training data.",
        "batch_size": "Examples in a training step.",
        "learning_rate": "The step size of Adam, after warm-up.",
        "warmup_epochs": "Epochs in which the learning rate rises linearly from 0; below `epochs`.",
        "schedule": "How the learning rate goes on after warm-up.",
        "precision": "The arithmetic of the forward pass; bfloat16 is mixed precision.",
        "channels_last": "Whether images lie in memory with channels last, as some convolutions prefer.",
    },
)

WORDING_OF_OBJECTIVE = WORDING._replace(choices={**WORDING.choices, "name": OBJECTIVES})

if TYPE_CHECKING:
    # Made at run time from the registries and dataclasses, so a type checker sees what they have in common.
    DatasetSection: TypeAlias = ConfiguredSection
    ArchitectureSection: TypeAlias = ConfiguredSection
    ObjectiveSection: TypeAlias = ConfiguredSection
    TrainingSection: TypeAlias = ConfiguredSection
    TrainingOverrides: TypeAlias = Section
else:
    DatasetSection = one_of_sections(DATASETS, WORDING)
    ArchitectureSection = one_of_sections(ARCHITECTURES, WORDING)
    ObjectiveSection = section(Objective, WORDING_OF_OBJECTIVE)
    TrainingSection = section(Training, WORDING)
    TrainingOverrides = overrides_section(Training, WORDING)


def _check_name(name: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}", name) or name in {".", ".."}:
        message = (
            f"{name!r} cannot name a sweep; use 1 to {LONGEST_NAME} letters, digits, '.', '_' or '-', "
            "and neither '.' nor '..'"
        )
        raise refusal([problem((), message)])
    return name


class MethodSection(Section):
    """One family of trials: which models are trained, over every seed and every point of the grid."""

    kind: str
    training: Annotated[
        TrainingOverrides | None, Field(description="Options of `training` that differ for this method.")
    ] = None

    def methods(self) -> tuple[Method, ...]:
        """Return what is trained, one a trial. Raises ValueError where an option is out of range."""
        raise NotImplementedError

    def label(self) -> str:
        """Return what its curve is called."""
        raise NotImplementedError

    def extent(self) -> str:
        """Return what β tells it apart by from another of the same label; empty where none does."""
        return ""

    def overrides(self) -> dict[str, Any]:
        """Return the training options that differ for this method."""
        return self.training.model_dump(exclude_none=True) if self.training else {}


class MultiRateVAESection(MethodSection):
    """A Multi-Rate VAE: one network trained over a range of β, evaluated at any β within."""

    kind: Annotated[Literal["mr-vae"], Field(description="A Multi-Rate VAE.")]
    beta_range: Annotated[
        tuple[Beta, ...],
        Field(min_length=2, max_length=2, description="The smallest and the largest β it is trained at."),
    ]
    encoder_gate: Annotated[str, OneOf(ENCODER_GATES), Field(description="The activation of the encoder's gates.")] = (
        MultiRateVAE.encoder_gate
    )
    decoder_gate: Annotated[str, OneOf(DECODER_GATES), Field(description="The activation of the decoder's gates.")] = (
        MultiRateVAE.decoder_gate
    )

    def methods(self) -> tuple[MultiRateVAE, ...]:
        """Return the one model. Raises ValueError where the range is upside down."""
        low, high = self.beta_range
        return (MultiRateVAE(low, high, self.encoder_gate, self.decoder_gate),)

    def label(self) -> str:
        """Return what its curve is called; gates are named where they are not the usual ones."""
        if self.encoder_gate == self.decoder_gate != MultiRateVAE.encoder_gate:
            return f"MR-VAE, {self.encoder_gate} gates"
        parts = {"encoder": (self.encoder_gate, MultiRateVAE.encoder_gate)}
        parts["decoder"] = (self.decoder_gate, MultiRateVAE.decoder_gate)
        unusual = [f"{chosen} {part} gate" for part, (chosen, usual) in parts.items() if chosen != usual]
        return ", ".join(["MR-VAE", *unusual])

    def extent(self) -> str:
        """Return the range of β."""
        low, high = self.beta_range
        return f"β from {low:g} to {high:g}"

    @model_validator(mode="after")
    def _check_range(self) -> MultiRateVAESection:
        try:
            self.methods()
        except ValueError as error:
            raise refusal([problem(("beta_range",), str(error))]) from error
        return self


class BetaVAESection(MethodSection):
    """A sweep of β-VAEs: one network for each β."""

    kind: Annotated[Literal["beta-vae"], Field(description="A sweep of β-VAEs.")]
    betas: Annotated[Betas, Field(description="The β to train at: a list, or {from, to, count} on a log scale.")]
    annealing: Annotated[
        str,
        OneOf(ANNEALINGS),
        Field(description="How β is reached: at once, over the first 30 %, or in cycles."),
    ] = BetaVAE.annealing

    def methods(self) -> tuple[BetaVAE, ...]:
        """Return one model for each β."""
        return tuple(BetaVAE(beta, self.annealing) for beta in beta_values(self.betas))

    def label(self) -> str:
        """Return what its curve is called."""
        return f"β-VAE, {self.annealing}"


AnyMethodSection = Annotated[MultiRateVAESection | BetaVAESection, Field(discriminator="kind")]


class EvaluationSection(Section):
    """What is measured on every trained model; a change here trains nothing again."""

    betas: Annotated[
        Betas | None,
        Field(
            description=f"Where a Multi-Rate VAE is measured; left out, {EVALUATED_BETAS} log-spaced β over "
            "its range. A β-VAE is measured at its own β."
        ),
    ] = None
    split: Annotated[str, OneOf(SPLITS), Field(description="The part of the data to measure on.")] = Evaluation.split
    metrics: Annotated[
        tuple[Annotated[str, OneOf(METRICS)], ...],
        Distinct,
        Field(description="What is measured besides rate, distortion and ELBO, which always are."),
    ] = Evaluation.metrics
    active_units_delta: Annotated[
        float,
        Field(gt=0, description="The variance of its posterior mean above which a latent unit is active."),
    ] = Evaluation.active_units_delta
    pictures: Annotated[
        int, Field(ge=0, le=64, description="Samples and reconstructions kept for each operating point.")
    ] = Evaluation.pictures
    limit: Annotated[int, Field(ge=0, description="Measure on so many examples only, the first ones; 0 takes all.")] = (
        Evaluation.limit
    )

    along: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="How often a Multi-Rate VAE is measured while it trains: after 1/2, 1/4, 1/8 … of the epochs, "
            "for what a part of its compute gives. The time that this takes is accounted apart.",
        ),
    ] = 4
    importance_samples: Annotated[
        int, Field(ge=1, description="Draws an example for its importance-weighted likelihood.")
    ] = Evaluation.importance_samples

    quality_examples: Annotated[
        int,
        Field(
            ge=LEAST_QUALITY_EXAMPLES,
            description="Images generated for fid and frechet_classifier, and the most real ones to compare with.",
        ),
    ] = Evaluation.quality_examples

    def for_method(self, method: Method) -> Evaluation:
        """Return what is measured on one trained model."""
        betas = method.trained_betas
        if self.betas is not None:
            betas = tuple(sorted(beta_values(self.betas)))
        elif isinstance(method, MultiRateVAE):
            betas = log_spaced(method.beta_low, method.beta_high, EVALUATED_BETAS)
        return Evaluation(
            betas=betas,
            split=self.split,
            metrics=self.metrics,
            active_units_delta=self.active_units_delta,
            pictures=self.pictures,
            limit=self.limit,
            importance_samples=self.importance_samples,
            quality_examples=self.quality_examples,
        ).for_method(method)


class ResourcesSection(Section):
    """What a trial holds while it runs; the same trial on other hardware is the same trial."""

    cpus: Annotated[float | None, Field(description="CPU cores; `training.threads` where left out.")] = None
    gpus: Annotated[float, Field(description="GPUs; a fraction shares one.")] = Resources.gpus
    memory_gib: Annotated[float, Field(description="Memory set aside, in GiB; 0 sets none aside.")] = (
        Resources.memory_gib
    )

    def for_training(self, training: Training) -> Resources:
        """Return what a trial with this training holds. Raises ValueError where that is nothing."""
        cpus = float(training.threads) if self.cpus is None else self.cpus
        return Resources(cpus=cpus, gpus=self.gpus, memory_gib=self.memory_gib)

    @model_validator(mode="after")
    def _check_resources(self) -> ResourcesSection:
        try:
            self.for_training(Training(epochs=1))
        except ValueError as error:
            field = named_first(str(error), type(self).model_fields)
            raise refusal([problem((field,) if field else (), str(error))]) from error
        return self


Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), Distinct]


class SelectionSection(Section):
    """A stage before the sweep that chooses the learning rate of each method, as the papers do.

    A method is trained at each rate; the lowest loss at one β, distortion + β · rate, wins, and the method's trials are
    trained at the winner. A method with a learning rate of its own takes no part.
    """

    learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(min_length=2, description="The rates to choose from."),
        Distinct,
    ]
    beta: Annotated[Beta, Field(description="The β at which losses are compared; β-VAEs are trained at it.")] = 1.0
    split: Annotated[
        str, OneOf(("train", "validation")), Field(description="The part of the data whose loss decides.")
    ] = "train"
    annealing: Annotated[
        str | None,
        OneOf(ANNEALINGS),
        Field(
            description="The annealing of the β-VAEs that the rate is chosen with, for β-VAEs of any annealing; left "
            "out, each annealing chooses its own."
        ),
    ] = None
    seeds: Annotated[Seeds, Field(description="Each rate is tried with each seed; mean losses are compared.")] = (0,)
    limit: Annotated[int, Field(ge=0, description="Measure on so many examples only, the first ones; 0 takes all.")] = 0

    def method(self, method: Method) -> Method:
        """Return what is trained to choose the rate of this method."""
        return BetaVAE(self.beta, self.annealing or method.annealing) if isinstance(method, BetaVAE) else method

    def evaluation(self) -> Evaluation:
        """Return what is measured to choose by."""
        return Evaluation(betas=(self.beta,), split=self.split, metrics=(), pictures=0, limit=self.limit)


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
