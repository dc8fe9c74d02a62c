"""What a spec measures on every trained model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orchestrator.sections import Betas, Distinct, OneOf, Section, beta_values, log_spaced
from workers.trial import LEAST_QUALITY_EXAMPLES, METRICS, SPLITS, Evaluation, Method, MultiRateVAE

EVALUATED_BETAS = 20


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
