"""The evaluation of one trained model: its operating points, and pictures of what they look like."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import torch

from evaluation.metrics.active_units import ActiveUnits
from evaluation.metrics.bits_per_dimension import bits_per_dimension
from evaluation.metrics.psnr import PeakSignalToNoiseRatio
from evaluation.metrics.rate_distortion import RateDistortion
from evaluation.records import Point
from workers.conditioning import condition_on
from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.vae import VAE, Evidence
    from workers.data.resident import Images
    from workers.trial import Evaluation, Method, Trial

BATCH = 500
PICTURE_SEED = 0
"""Of the latents that pictures are drawn from: the same for every trial, so that methods can be compared by eye."""


class Interrupted(Exception):  # noqa: N818 (a state, not an accident)
    """The trial was asked to stop; it goes on from its last checkpoint when it is run again."""


def measure(
    trial: Trial,
    model: VAE,
    images: Images,
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
        points.append(_point(trial, model, images, evaluation, beta, sweep=sweep, device=device))
    return points


def draw_pictures(trial: Trial, model: VAE, images: Images, evaluation: Evaluation, device: torch.device) -> bytes:
    """Return an .npz file: `betas` (K,), `originals` (n, C, H, W), `reconstructions` and `samples` (K, n, C, H, W).

    Images are uint8. Reconstructions and samples use the same latent noise at every β and in every trial.
    """
    count = min(evaluation.pictures, len(images))
    random = generator(device, PICTURE_SEED, "pictures")
    x = images.batch(torch.arange(count, device=device), random)
    noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
    reconstructions, samples = [], []
    with torch.no_grad():
        model.eval()
        for beta in evaluation.betas:
            condition = _condition(trial.method, beta, count, device)
            reconstructions.append(model(x, condition, noise).reconstruction)
            samples.append(model.generate(noise, condition))
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        betas=np.asarray(evaluation.betas),
        originals=_to_uint8(x),
        reconstructions=_to_uint8(torch.stack(reconstructions)),
        samples=_to_uint8(torch.stack(samples)),
    )
    return buffer.getvalue()


def _point(
    trial: Trial, model: VAE, images: Images, evaluation: Evaluation, beta: float, *, sweep: str, device: torch.device
) -> Point:
    totals, units, psnr = RateDistortion.empty(), ActiveUnits.empty(), PeakSignalToNoiseRatio.empty()
    for x, evidence in _batches(trial, model, images, beta, device):
        totals = totals.update(evidence.distortion, evidence.rates)
        if "active_units" in evaluation.metrics:
            units = units.update(torch.cat([posterior.mean.flatten(1) for posterior in evidence.posteriors], 1))
        if "psnr" in evaluation.metrics:
            psnr = psnr.update(x, evidence.reconstruction)
    dimensions = int(np.prod(trial.dataset.shape))
    counted = "active_units" in evaluation.metrics
    in_bits = "bits_per_dimension" in evaluation.metrics
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
        psnr_db=psnr.decibels if "psnr" in evaluation.metrics else None,
    )


def _batches(
    trial: Trial, model: VAE, images: Images, beta: float, device: torch.device
) -> Iterator[tuple[torch.Tensor, Evidence]]:
    model.eval()
    with torch.no_grad():
        for number, indices in enumerate(torch.arange(len(images), device=device).split(BATCH)):
            random = generator(device, trial.seed, "evaluation", number)
            x = images.batch(indices, random)
            noise = [torch.randn(len(x), *shape, generator=random, device=device) for shape in model.latent_shapes]
            yield x, model(x, _condition(trial.method, beta, len(x), device), noise)


def _condition(method: Method, beta: float, examples: int, device: torch.device) -> torch.Tensor | None:
    return condition_on(method, torch.full((examples, 1), beta, device=device))


def _to_uint8(images: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return images.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
