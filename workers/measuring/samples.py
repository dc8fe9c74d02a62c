"""Examples, reconstructions and samples of a trained model at each operating point: images or text for the report."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evaluation.metrics.active_units import ActiveUnits
from evaluation.operating_points import by_layer, curve_order, to_json
from models.vae import SingleLatentVAE, TextVAE
from workers.data.sentences import Sentences
from workers.measuring.guard import unguarded
from workers.seeding import generator
from workers.training.conditioning import condition_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evaluation.operating_points import Betas
    from models.vae import VAE, ModelOutput
    from workers.data.split import Split
    from workers.measuring.guard import Guard
    from workers.trial import Evaluation, Trial

SEED = 0
"""Seed of the latents: the same for every trial, so that methods can be compared by eye."""
LONGEST_SHOWN = 60
"""Tokens of a decoded sentence that are kept."""
TRAVERSED_FROM_PRIOR = 2.5
"""The largest distance from 0 of a traversed unit, in standard deviations of the prior."""
TRAVERSALS = ((6, 7), (4, 5), (3, 3))
"""Number of traversed units and of the values of each: the first pair whose images fit into `MOST_TRAVERSED`."""
MOST_TRAVERSED = 6 * 7 * 3 * 64 * 64
"""Limit of the numbers in all images of the traversals at one β."""
MOST_TRAVERSED_BETAS = 20
RANKING_EXAMPLES = 500
"""Number of first examples whose posterior means determine the traversed units."""


def draw_samples(
    trial: Trial, model: VAE, data: Split, evaluation: Evaluation, device: torch.device, guard: Guard = unguarded
) -> tuple[str, bytes]:
    """Return the name and the content of a file with examples, reconstructions and samples at each β.

    The latent noise is the same for every β and every trial. `_pictures` and `_traversals` describe the form for
    images, `_sentences` that for text. Where `guard` suppresses an error of the traversals, the file has none.
    """
    model.eval()
    count = min(evaluation.pictures, len(data))
    random = generator(device, SEED, "pictures")
    x = data.batch(torch.arange(count), random) if count else torch.zeros(0, *data.shape, device=device)
    noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
    with torch.no_grad():
        if isinstance(model, TextVAE) and isinstance(data, Sentences):
            return f"texts/{evaluation.eval_id}.json", _sentences(trial, model, data, evaluation, x, noise)
        arrays = _pictures(trial, model, evaluation, x, noise)
        with guard("traversals", len(evaluation.betas)):
            arrays |= _traversals(trial, model, data, evaluation, x[:1])
        return f"pictures/{evaluation.eval_id}.npz", _npz(arrays)


def _pictures(
    trial: Trial, model: VAE, evaluation: Evaluation, x: torch.Tensor, noise: list[torch.Tensor]
) -> dict[str, NDArray[Any]]:
    """Return `betas` (K,), `originals` (n, C, H, W), `reconstructions` and `samples` (K, n, C, H, W); images uint8."""
    reconstructions, samples = [], []
    for betas in evaluation.operating_points:
        condition = condition_at(trial.method, betas, len(x), x.device)
        means = model(x, condition, noise).reconstruction
        reconstructions.append(means)
        samples.append(model.generate(noise, condition))
    return {
        "betas": _array(evaluation.operating_points),
        "originals": _to_uint8(x),
        "reconstructions": _to_uint8(torch.stack(reconstructions)),
        "samples": _to_uint8(torch.stack(samples)),
    }


def _traversals(
    trial: Trial, model: VAE, data: Split, evaluation: Evaluation, x: torch.Tensor
) -> dict[str, NDArray[Any]]:
    """Return the decoded images when one latent unit of the image x (1, C, H, W) is changed and the others are not.

    The other units keep the posterior mean of x. `traversals` (K, U, V, C, H, W) uint8 are of the U units whose
    posterior mean varies most over the examples, by falling variance, each at the V values `traversal_values`.
    `traversed_units` (K, U), from 0, and their `traversed_variances` (K, U) are those at the `traversal_betas` (K,).

    The result is empty for a model whose latents are not one layer with prior N(0, I): in a hierarchy, the lower
    layers' prior changes with the unit, so a value is not in standard deviations of the prior. It is also empty for
    fewer than 2 examples, which rank no unit, and where 3 by 3 images are too large.
    """
    shape = next((shape for shape in TRAVERSALS if math.prod(shape) * x.numel() <= MOST_TRAVERSED), None)
    if not isinstance(model, SingleLatentVAE) or len(x) == 0 or len(data) < 2 or shape is None:  # noqa: PLR2004 (a variance needs two)
        return {}
    most_units, steps = shape
    # Symmetric to the last bit, with 0 itself in the middle.
    values = TRAVERSED_FROM_PRIOR * np.arange(-(steps // 2), steps // 2 + 1) / (steps // 2)
    examples = data.batch(torch.arange(min(RANKING_EXAMPLES, len(data))), generator(x.device, SEED, "traversals"))
    points = _spread(evaluation.operating_points)
    images, units, variances = [], [], []
    for betas in points:
        varying = ActiveUnits.empty().update(_posterior_means(trial, model, betas, examples)).variances()
        first = np.argsort(-varying, kind="stable")[:most_units]
        latents = _moved(_posterior_means(trial, model, betas, x)[0], first, torch.from_numpy(values).to(x))
        decoded = model.generate([latents], condition_at(trial.method, betas, len(latents), x.device))
        images.append(_to_uint8(decoded.unflatten(0, (len(first), steps))))
        units.append(first)
        variances.append(varying[first])
    return {
        "traversals": np.stack(images),
        "traversed_units": np.stack(units),
        "traversed_variances": np.stack(variances),
        "traversal_values": values,
        "traversal_betas": _array(points),
    }


def _spread(points: Sequence[Betas]) -> list[Betas]:
    """Return the operating points by rising β; of too many, evenly spaced ones with both ends."""
    places = np.linspace(0, len(points) - 1, min(len(points), MOST_TRAVERSED_BETAS)).round().astype(int)
    return [sorted(points, key=curve_order)[place] for place in places]


def _array(points: Sequence[Betas]) -> NDArray[np.float64]:
    """Return the β of operating points, (K,), or (K, layers) where some have one for each latent layer."""
    layers = max(map(len, points))
    return np.asarray([to_json(by_layer(betas, layers)) for betas in points], dtype=np.float64)


def _posterior_means(trial: Trial, model: SingleLatentVAE, betas: Betas, x: torch.Tensor) -> torch.Tensor:
    """Return the means of q(z|x), (B, units)."""
    # Without noise the draw is the mean, and no random numbers are used.
    noise = [torch.zeros(len(x), *shape, device=x.device) for shape in model.latent_shapes]
    output: ModelOutput = model(x, condition_at(trial.method, betas, len(x), x.device), noise)
    return output.posteriors[0].mean


def _moved(latents: torch.Tensor, units: NDArray[np.intp], values: torch.Tensor) -> torch.Tensor:
    """Return copies of `latents` (units,) with each of the U units at each of the V values, (U · V, units)."""
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

    `greedy` and `sampled` decode one draw from the posterior of each original, with the most likely word at each step
    or a drawn one; `samples` are greedy decodings of draws from the prior.
    """
    shown: dict[str, list[list[str]]] = {"greedy": [], "sampled": [], "samples": []}
    for betas in evaluation.operating_points if len(x) else ():
        condition = condition_at(trial.method, betas, len(x), x.device)
        latents = model(x, condition, noise).posteriors[0].sample
        words = generator(x.device, SEED, "words")
        shown["greedy"].append(data.words(model.decode(latents, condition, LONGEST_SHOWN, None)))
        shown["sampled"].append(data.words(model.decode(latents, condition, LONGEST_SHOWN, words)))
        shown["samples"].append(data.words(model.decode(noise[0], condition, LONGEST_SHOWN, None)))
    points = list(map(to_json, evaluation.operating_points))
    record = {"betas": points, "originals": data.words(x[:, :LONGEST_SHOWN]) if len(x) else [], **shown}
    return json.dumps(record, ensure_ascii=False).encode()


def _to_uint8(images: torch.Tensor) -> NDArray[np.uint8]:
    return images.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
