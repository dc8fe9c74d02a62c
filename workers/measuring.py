"""The evaluation of one trained model at its operating points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from evaluation.metrics.active_units import ActiveUnits
from evaluation.metrics.bits_per_dimension import bits_per_dimension
from evaluation.metrics.perplexity import perplexity
from evaluation.metrics.psnr import PeakSignalToNoiseRatio
from evaluation.metrics.rate_distortion import RateDistortion
from evaluation.records import Point
from workers.conditioning import condition_on
from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.vae import VAE, Evidence
    from workers.data.split import Split
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
) -> list[Point]:
    """Return the operating points of a trained model, one posterior sample an example, in float32.

    Every β sees the same noise, so that differences between points are the model's. Raises Interrupted.
    """
    points = []
    for beta in evaluation.betas:
        if should_stop():
            raise Interrupted
        points.append(_point(trial, model, data, evaluation, beta, sweep=sweep, device=device))
    return points


def _point(
    trial: Trial, model: VAE, data: Split, evaluation: Evaluation, beta: float, *, sweep: str, device: torch.device
) -> Point:
    totals, units, psnr = RateDistortion.empty(), ActiveUnits.empty(), PeakSignalToNoiseRatio.empty()
    wanted = evaluation.metrics
    for x, evidence in _batches(trial, model, data, beta, device):
        totals = totals.update(evidence.distortion, evidence.rates)
        if "active_units" in wanted:
            units = units.update(torch.cat([posterior.mean.flatten(1) for posterior in evidence.posteriors], 1))
        if "psnr" in wanted and evidence.reconstruction is not None:
            psnr = psnr.update(x, evidence.reconstruction)
    dimensions = int(np.prod(trial.dataset.shape))
    counted = "active_units" in wanted
    in_bits = "bits_per_dimension" in wanted
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
        active_units=units.active_units(evaluation.active_units_delta) if counted else None,
        active_units_delta=evaluation.active_units_delta if counted else None,
        latent_units=sum(int(np.prod(shape)) for shape in model.latent_shapes),
        bits_per_dimension=bits_per_dimension(totals.distortion, totals.rate_nats, dimensions) if in_bits else None,
        psnr_db=psnr.decibels if "psnr" in wanted else None,
        perplexity=perplexity(totals.elbo, totals.examples, _words(data)) if "perplexity" in wanted else None,
    )


def _batches(
    trial: Trial, model: VAE, data: Split, beta: float, device: torch.device
) -> Iterator[tuple[torch.Tensor, Evidence]]:
    model.eval()
    with torch.no_grad():
        for number, indices in enumerate(torch.arange(len(data)).split(BATCH)):
            random = generator(device, trial.seed, "evaluation", number)
            x = data.batch(indices, random)
            noise = [torch.randn(len(x), *shape, generator=random, device=device) for shape in model.latent_shapes]
            yield x, model(x, condition_at(trial.method, beta, len(x), device), noise)


def condition_at(method: Method, beta: float, examples: int, device: torch.device) -> torch.Tensor | None:
    """Return the gates' input (B, 1) at one β, or None for a model without gates."""
    return condition_on(method, torch.full((examples, 1), beta, device=device))


def _words(data: Split) -> int:
    # A sentence's first token is given, not predicted.
    return 0 if data.lengths is None else int((data.lengths - 1).sum())
