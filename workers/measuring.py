"""The evaluation of one trained model at its operating points."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from evaluation.metrics.rate_distortion import RateDistortion
from evaluation.records import Point
from workers.conditioning import condition_on
from workers.measures import MEASURES, Setting
from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from models.vae import VAE
    from workers.data.split import Split
    from workers.quality_columns import QualityColumns
    from workers.trial import Evaluation, Method, Trial

BATCH = 500


class Interrupted(Exception):  # noqa: N818 (a state, not an accident)
    """The trial was asked to stop; it goes on from its last checkpoint when it is run again."""


def measure(
    trial: Trial,
    model: VAE,
    data: Split,
    evaluation: Evaluation,
    *,
    sweep: str,
    device: torch.device,
    should_stop: Callable[[], bool],
    quality: QualityColumns | None = None,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[Point]:
    """Return the operating points of a trained model, one posterior sample an example, in float32.

    Every β sees the same noise, so that differences between points are the model's. `quality` measures generated
    images, for an evaluation that asks for it. `aside` is entered while metrics beside rate and distortion are
    measured, so that their time can be told apart. Raises Interrupted.
    """
    points = []
    with aside():
        references = quality.references() if quality else []
    for beta in evaluation.betas:
        if should_stop():
            raise Interrupted
        point = _point(trial, model, data, evaluation, beta, sweep=sweep, device=device, aside=aside)
        with aside():
            points.append(replace(point, **quality.at(model, beta, references)) if quality else point)
    return points


def _point(
    trial: Trial,
    model: VAE,
    data: Split,
    evaluation: Evaluation,
    beta: float,
    *,
    sweep: str,
    device: torch.device,
    aside: Callable[[], AbstractContextManager[None]],
) -> Point:
    def noise(examples: int, random: torch.Generator) -> list[torch.Tensor]:
        return [torch.randn(examples, *shape, generator=random, device=device) for shape in model.latent_shapes]

    def condition(examples: int) -> torch.Tensor | None:
        return condition_at(trial.method, beta, examples, device)

    setting = Setting(trial, model, data, evaluation, condition, noise)
    measures = [MEASURES[name](setting) for name in evaluation.metrics if name in MEASURES]
    totals = RateDistortion.empty()
    model.eval()
    with torch.no_grad():
        for number, indices in enumerate(torch.arange(len(data)).split(BATCH)):
            random = generator(device, trial.seed, "evaluation", number)
            x = data.batch(indices, random)
            evidence = model(x, condition(len(x)), noise(len(x), random))
            totals = totals.update(evidence.distortion, evidence.rates)
            with aside():
                for measure in measures:
                    # A generator for each, so that no metric's numbers hang on which others are asked for.
                    measure.update(x, evidence, generator(device, trial.seed, type(measure).__name__, number))
    columns: dict[str, Any] = {}
    with aside():
        for measure in measures:
            columns |= measure.columns(totals)
    return Point(
        trial_id=trial.trial_id,
        eval_id=evaluation.eval_id,
        sweep=sweep,
        method=trial.method.kind,
        dataset=trial.dataset.name,
        architecture=trial.architecture.name,
        objective=trial.objective.name,
        seed=trial.seed,
        split=evaluation.split,
        betas=(beta,),
        rates_nats=totals.rates_nats,
        rate_nats=totals.rate_nats,
        distortion=totals.distortion,
        distortion_unit=model.distortion_unit,
        elbo=totals.elbo,
        examples=totals.examples,
        posterior_samples=1,
        latent_units=sum(math.prod(shape) for shape in model.latent_shapes),
        **columns,
    )


def condition_at(method: Method, beta: float, examples: int, device: torch.device) -> torch.Tensor | None:
    """Return the gates' input (B, 1) at one β, or None for a model without gates."""
    return condition_on(method, torch.full((examples, 1), beta, device=device))
