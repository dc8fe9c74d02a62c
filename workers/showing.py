"""What a trained model's data looks like at each β, kept for the report: pictures of images, or sentences."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evaluation.metrics.active_units import ActiveUnits
from models.vae import SingleLatentVAE, TextVAE
from workers.data.sentences import Sentences
from workers.measuring import condition_at
from workers.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.vae import VAE, Evidence
    from workers.data.split import Split
    from workers.trial import Evaluation, Trial

SEED = 0
"""Of the latents that are shown: the same for every trial, so that methods can be compared by eye."""
LONGEST_SHOWN = 60
"""Tokens of a decoded sentence that are kept."""
TRAVERSED_FROM_PRIOR = 2.5
"""How far from 0 a traversed unit is moved to either side, in standard deviations of the prior."""
TRAVERSALS = ((6, 7), (4, 5), (3, 3))
"""Units, and values of each, that are traversed: the first of these whose images are no more than `MOST_TRAVERSED`."""
MOST_TRAVERSED = 6 * 7 * 3 * 64 * 64
"""Values of all images of the traversals at one β."""
MOST_TRAVERSED_BETAS = 20
RANKING_EXAMPLES = 500
"""Examples, the first ones, whose posterior means tell which units are traversed."""


def show(trial: Trial, model: VAE, data: Split, evaluation: Evaluation, device: torch.device) -> tuple[str, bytes]:
    """Return the name and the content of a file with examples, reconstructions and samples at each β.

    The same latent noise serves every β and every trial. See `_pictures` with `_traversals`, and `_sentences`, for the
    two forms.
    """
    model.eval()
    count = min(evaluation.pictures, len(data))
    random = generator(device, SEED, "pictures")
    x = data.batch(torch.arange(count), random) if count else torch.zeros(0, *data.shape, device=device)
    noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
    with torch.no_grad():
        if isinstance(model, TextVAE) and isinstance(data, Sentences):
            return f"texts/{evaluation.eval_id}.json", _sentences(trial, model, data, evaluation, x, noise)
        arrays = _pictures(trial, model, evaluation, x, noise) | _traversals(trial, model, data, evaluation, x[:1])
        return f"pictures/{evaluation.eval_id}.npz", _npz(arrays)


def _pictures(
    trial: Trial, model: VAE, evaluation: Evaluation, x: torch.Tensor, noise: list[torch.Tensor]
) -> dict[str, NDArray[Any]]:
    """Return `betas` (K,), `originals` (n, C, H, W), `reconstructions` and `samples` (K, n, C, H, W); images uint8."""
    reconstructions, samples = [], []
    for beta in evaluation.betas:
        condition = condition_at(trial.method, beta, len(x), x.device)
        means = model(x, condition, noise).reconstruction
        reconstructions.append(means)
        samples.append(model.generate(noise, condition))
    return {
        "betas": np.asarray(evaluation.betas),
        "originals": _to_uint8(x),
        "reconstructions": _to_uint8(torch.stack(reconstructions)),
        "samples": _to_uint8(torch.stack(samples)),
    }


def _traversals(
    trial: Trial, model: VAE, data: Split, evaluation: Evaluation, x: torch.Tensor
) -> dict[str, NDArray[Any]]:
    """Return what becomes of one image x (1, C, H, W) when one latent unit is moved, the others at its posterior mean.

    `traversals` (K, U, V, C, H, W) uint8 are of the U units whose posterior mean varies most over the examples, the
    first one most, each at the V values `traversal_values`. `traversed_units` (K, U), from 0, and their
    `traversed_variances` (K, U) are those at each of `traversal_betas` (K,).

    Nothing is returned for a model whose latents are not one layer with prior N(0, I): in a hierarchy, the lower
    layers' prior moves with the unit, and a value is no longer so many standard deviations of the prior. Neither is
    it for fewer than 2 examples, which rank no unit, nor for images of which three by three are too large.
    """
    shape = next((shape for shape in TRAVERSALS if math.prod(shape) * x.numel() <= MOST_TRAVERSED), None)
    if not isinstance(model, SingleLatentVAE) or len(x) == 0 or len(data) < 2 or shape is None:  # noqa: PLR2004 (a variance needs two)
        return {}
    most_units, steps = shape
    # Symmetric to the last bit, with 0 itself in the middle.
    values = TRAVERSED_FROM_PRIOR * np.arange(-(steps // 2), steps // 2 + 1) / (steps // 2)
    examples = data.batch(torch.arange(min(RANKING_EXAMPLES, len(data))), generator(x.device, SEED, "traversals"))
    betas = _spread(evaluation.betas)
    images, units, variances = [], [], []
    for beta in betas:
        varying = ActiveUnits.empty().update(_posterior_means(trial, model, beta, examples)).variances()
        first = np.argsort(-varying, kind="stable")[:most_units]
        latents = _moved(_posterior_means(trial, model, beta, x)[0], first, torch.from_numpy(values).to(x))
        decoded = model.generate([latents], condition_at(trial.method, beta, len(latents), x.device))
        images.append(_to_uint8(decoded.unflatten(0, (len(first), steps))))
        units.append(first)
        variances.append(varying[first])
    return {
        "traversals": np.stack(images),
        "traversed_units": np.stack(units),
        "traversed_variances": np.stack(variances),
        "traversal_values": values,
        "traversal_betas": np.asarray(betas),
    }


def _spread(betas: Sequence[float]) -> list[float]:
    """Return the β by rising value, evenly thinned out where there are too many; both ends stay."""
    places = np.linspace(0, len(betas) - 1, min(len(betas), MOST_TRAVERSED_BETAS)).round().astype(int)
    return [sorted(betas)[place] for place in places]


def _posterior_means(trial: Trial, model: SingleLatentVAE, beta: float, x: torch.Tensor) -> torch.Tensor:
    """Return the means of q(z|x), (B, units)."""
    # Without noise the draw is the mean, and nothing random is spent.
    noise = [torch.zeros(len(x), *shape, device=x.device) for shape in model.latent_shapes]
    evidence: Evidence = model(x, condition_at(trial.method, beta, len(x), x.device), noise)
    return evidence.posteriors[0].mean


def _moved(latents: torch.Tensor, units: NDArray[np.intp], values: torch.Tensor) -> torch.Tensor:
    """Return copies of `latents` (units,) with each of the units at each of the values, (U · V, units)."""
    moved = latents.repeat(len(units), len(values), 1)
    for rank, unit in enumerate(units.tolist()):
        moved[rank, :, unit] = values
    return moved.flatten(0, 1)


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _sentences(
    trial: Trial, model: TextVAE, data: Sentences, evaluation: Evaluation, x: torch.Tensor, noise: list[torch.Tensor]
) -> bytes:
    """Return JSON: `betas` (K,), `originals` (n,), and (K, n) of `greedy`, `sampled` and `samples`, all text.

    `greedy` and `sampled` decode one draw from the posterior of each original, the likeliest word at each step or a
    drawn one; `samples` are greedy decodings of draws from the prior.
    """
    shown: dict[str, list[list[str]]] = {"greedy": [], "sampled": [], "samples": []}
    for beta in evaluation.betas if len(x) else ():
        condition = condition_at(trial.method, beta, len(x), x.device)
        latents = model(x, condition, noise).posteriors[0].sample
        words = generator(x.device, SEED, "words")
        shown["greedy"].append(data.words(model.decode(latents, condition, LONGEST_SHOWN, None)))
        shown["sampled"].append(data.words(model.decode(latents, condition, LONGEST_SHOWN, words)))
        shown["samples"].append(data.words(model.decode(noise[0], condition, LONGEST_SHOWN, None)))
    record = {"betas": list(evaluation.betas), "originals": data.words(x[:, :LONGEST_SHOWN]) if len(x) else [], **shown}
    return json.dumps(record, ensure_ascii=False).encode()


def _to_uint8(images: torch.Tensor) -> NDArray[np.uint8]:
    return images.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
