"""What a spec compares: the families of trials, and how the learning rate of each is chosen first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from orchestrator.sections import Beta, Betas, Distinct, OneOf, Section, beta_values, problem, refusal
from orchestrator.spec_configured import TrainingOverrides
from workers.trial import (
    ANNEALINGS,
    DECODER_GATES,
    ENCODER_GATES,
    BetaVAE,
    Evaluation,
    Method,
    MultiRateVAE,
)


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
