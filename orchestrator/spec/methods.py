"""The methods that a spec compares, and the first stage that selects the learning rate of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from orchestrator.spec.betas import Beta, Betas, beta_values
from orchestrator.spec.section import Distinct, Section, overrides_of, problem, refusal
from workers.trial import (
    Annealing,
    BetaVAE,
    DecoderGate,
    EncoderGate,
    Evaluation,
    Method,
    MultiRateVAE,
    Training,
)


class MethodSection(Section):
    """A method: the models that are trained with every seed and at every point of the grid."""

    kind: str
    training: Annotated[
        Annotated[Section, overrides_of(Training)] | None,
        Field(description="Options of `training` to change for this method."),
    ] = None

    def methods(self) -> tuple[Method, ...]:
        """Return the model of each trial. Raises ValueError where an option is out of range."""
        raise NotImplementedError

    def label(self) -> str:
        """Return the name of its curve."""
        raise NotImplementedError

    def extent(self) -> str:
        """Return its β values in words, to distinguish it from another one of the same label; empty for a list."""
        return ""

    def overrides(self) -> dict[str, Any]:
        """Return the training options that this method changes."""
        return self.training.model_dump(exclude_none=True) if self.training else {}


class MultiRateVAESection(MethodSection):
    """A Multi-Rate VAE: one network trained over a range of β, evaluated at any β in it."""

    kind: Annotated[Literal["mr-vae"], Field(description="A Multi-Rate VAE.")]
    beta_range: Annotated[
        tuple[Beta, ...],
        Field(min_length=2, max_length=2, description="The smallest and the largest β in training."),
    ]
    encoder_gate: Annotated[EncoderGate, Field(description="The activation of the encoder's gates.")] = (
        MultiRateVAE.encoder_gate
    )
    decoder_gate: Annotated[DecoderGate, Field(description="The activation of the decoder's gates.")] = (
        MultiRateVAE.decoder_gate
    )

    def methods(self) -> tuple[MultiRateVAE, ...]:
        """Return the one model. Raises ValueError where the range is reversed."""
        low, high = self.beta_range
        return (MultiRateVAE(low, high, self.encoder_gate, self.decoder_gate),)

    def label(self) -> str:
        """Return the name of its curve, with the gates if they are not the default ones."""
        if self.encoder_gate == self.decoder_gate != MultiRateVAE.encoder_gate:
            return f"MR-VAE, {self.encoder_gate} gates"
        parts: dict[str, tuple[str, str]] = {
            "encoder": (self.encoder_gate, MultiRateVAE.encoder_gate),
            "decoder": (self.decoder_gate, MultiRateVAE.decoder_gate),
        }
        unusual = [f"{chosen} {part} gate" for part, (chosen, usual) in parts.items() if chosen != usual]
        return ", ".join(["MR-VAE", *unusual])

    def extent(self) -> str:
        """Return the range of β in words."""
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
    """β-VAEs: one network for each β."""

    kind: Annotated[Literal["beta-vae"], Field(description="β-VAEs, one for each β.")]
    betas: Annotated[Betas, Field(description="β values to train at: a list, or {from, to, count} on a log scale.")]
    annealing: Annotated[
        Annealing,
        Field(
            description="KL annealing: constant (none), monotonic (β rises over the first 30 % of the epochs) or "
            "cyclic (four cycles; β rises over the first half of each)."
        ),
    ] = BetaVAE.annealing

    def methods(self) -> tuple[BetaVAE, ...]:
        """Return a model for each β."""
        return tuple(BetaVAE(beta, self.annealing) for beta in beta_values(self.betas))

    def label(self) -> str:
        """Return the name of its curve."""
        return f"β-VAE, {self.annealing}"


AnyMethodSection = Annotated[MultiRateVAESection | BetaVAESection, Field(discriminator="kind")]


Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), Distinct]


class SelectionSection(Section):
    """A stage before the sweep that selects the learning rate of each method, as the papers do.

    Each method is trained with each learning rate. The one with the lowest loss at `beta`, distortion + β · rate, is
    selected for the method's trials. A method that sets its own learning rate is left out.
    """

    learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(min_length=2, description="The learning rates to compare."),
        Distinct,
    ]
    beta: Annotated[Beta, Field(description="The β at which losses are compared, and at which β-VAEs are trained.")] = (
        1.0
    )
    split: Annotated[
        Literal["train", "validation"], Field(description="The part of the data whose loss is compared.")
    ] = "train"
    annealing: Annotated[
        Annealing | None,
        Field(
            description="The annealing of β-VAEs in this stage, which then select one learning rate together; if "
            "omitted, each annealing selects its own."
        ),
    ] = None
    seeds: Annotated[Seeds, Field(description="Each rate is trained with each seed; mean losses are compared.")] = (0,)
    limit: Annotated[
        int, Field(ge=0, description="Number of examples to compute the loss on, the first ones; 0: all.")
    ] = 0

    def method(self, method: Method) -> Method:
        """Return the model to train in order to select the learning rate of this method."""
        return BetaVAE(self.beta, self.annealing or method.annealing) if isinstance(method, BetaVAE) else method

    def evaluation(self) -> Evaluation:
        """Return the evaluation to compare losses by."""
        return Evaluation(betas=(self.beta,), split=self.split, metrics=(), pictures=0, limit=self.limit)
