"""The evaluation of one trained model at its operating points."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from evaluation.metrics.rate_distortion import RateDistortion
from evaluation.records import Point
from workers.measuring.guard import unguarded
from workers.measuring.metrics import POINT_METRICS, EvaluatedModel
from workers.outcome import Interrupted
from workers.seeding import generator
from workers.training.conditioning import condition_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from evaluation.operating_points import Betas
    from models.vae import VAE, ModelOutput
    from workers.data.split import Split
    from workers.measuring.generation_metrics import GenerationMetrics
    from workers.measuring.guard import Guard
    from workers.measuring.metrics import PointMetric
    from workers.trial import Evaluation, Trial

BATCH = 500


def evaluate_points(
    trial: Trial,
    model: VAE,
    data: Split,
    evaluation: Evaluation,
    *,
    sweep: str,
    device: torch.device,
    should_stop: Callable[[], bool],
    generation: GenerationMetrics | None = None,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    guard: Guard = unguarded,
) -> list[Point]:
    """Return the operating points of a trained model, with one posterior sample per example, in float32.

    The noise is the same for every β, so that differences between points are the model's. `generation` computes the
    metrics of generated images, if the evaluation names any. `aside` is entered while metrics besides rate and
    distortion are computed, so that their time is counted separately. `guard` is entered for each of them; where it
    suppresses an error, that metric's columns are left out. Raises Interrupted.
    """
    points = []
    with aside():
        references = generation.references(guard) if generation else {}
    for betas in evaluation.operating_points:
        if should_stop():
            raise Interrupted
        point = _point(trial, model, data, evaluation, betas, sweep=sweep, device=device, aside=aside, guard=guard)
        with aside():
            of_images = generation.at(model, betas, references, guard) if generation else {}
            points.append(replace(point, metrics={**point.metrics, **of_images}))
    return points


def _point(
    trial: Trial,
    model: VAE,
    data: Split,
    evaluation: Evaluation,
    betas: Betas,
    *,
    sweep: str,
    device: torch.device,
    aside: Callable[[], AbstractContextManager[None]],
    guard: Guard,
) -> Point:
    def noise(examples: int, random: torch.Generator) -> list[torch.Tensor]:
        return [torch.randn(examples, *shape, generator=random, device=device) for shape in model.latent_shapes]

    def condition(examples: int) -> torch.Tensor | None:
        return condition_at(trial.method, betas, examples, device)

    evaluated = EvaluatedModel(trial, model, data, evaluation, condition, noise)
    metrics = _metrics(evaluated, guard)
    totals = RateDistortion.empty()
    model.eval()
    with torch.no_grad():
        for number, indices in enumerate(torch.arange(len(data)).split(BATCH)):
            random = generator(device, trial.seed, "evaluation", number)
            x = data.batch(indices, random)
            output = model(x, condition(len(x)), noise(len(x), random))
            totals = totals.update(output.distortion, output.rates)
            with aside():
                metrics = _updated(metrics, x, output, number, guard)
    columns: dict[str, Any] = {}
    with aside():
        for name, metric in metrics.items():
            with guard(name):
                columns |= metric.columns(totals)
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
        betas=betas,
        rates_nats=totals.rates_nats,
        rate_nats=totals.rate_nats,
        distortion=totals.distortion,
        distortion_unit=model.distortion_unit,
        elbo=totals.elbo,
        examples=totals.examples,
        posterior_samples=1,
        latent_units=sum(math.prod(shape) for shape in model.latent_shapes),
        metrics=columns,
    )


def _metrics(evaluated: EvaluatedModel, guard: Guard) -> dict[str, PointMetric]:
    metrics = {}
    for name in evaluated.evaluation.metrics:
        if name in POINT_METRICS:
            with guard(name):
                metrics[name] = POINT_METRICS[name](evaluated)
    return metrics


def _updated(
    metrics: dict[str, PointMetric], x: torch.Tensor, output: ModelOutput, number: int, guard: Guard
) -> dict[str, PointMetric]:
    """Update the metrics with a batch, and return those that did not fail."""
    kept = {}
    for name, metric in metrics.items():
        # A generator for each metric, so that its values do not depend on the other metrics.
        random = generator(x.device, metric.evaluated.trial.seed, metric.random_stream or name, number)
        with guard(name):
            metric.update(x, output, random)
            kept[name] = metric
    return kept
