"""What a trained model's data looks like at each β, kept for the report: pictures of images, or sentences."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.vae import TextVAE
from workers.data.sentences import Sentences
from workers.measuring import condition_at
from workers.seeding import generator

if TYPE_CHECKING:
    from models.vae import VAE
    from workers.data.split import Split
    from workers.trial import Evaluation, Trial

SEED = 0
"""Of the latents that are shown: the same for every trial, so that methods can be compared by eye."""
LONGEST_SHOWN = 60
"""Tokens of a decoded sentence that are kept."""


def show(trial: Trial, model: VAE, data: Split, evaluation: Evaluation, device: torch.device) -> tuple[str, bytes]:
    """Return the name and the content of a file with examples, reconstructions and samples at each β.

    The same latent noise serves every β and every trial. See `_pictures` and `_sentences` for the two forms.
    """
    model.eval()
    count = min(evaluation.pictures, len(data))
    random = generator(device, SEED, "pictures")
    x = data.batch(torch.arange(count), random) if count else torch.zeros(0, *data.shape, device=device)
    noise = [torch.randn(count, *shape, generator=random, device=device) for shape in model.latent_shapes]
    with torch.no_grad():
        if isinstance(model, TextVAE) and isinstance(data, Sentences):
            return f"texts/{evaluation.eval_id}.json", _sentences(trial, model, data, evaluation, x, noise)
        return f"pictures/{evaluation.eval_id}.npz", _pictures(trial, model, evaluation, x, noise)


def _pictures(trial: Trial, model: VAE, evaluation: Evaluation, x: torch.Tensor, noise: list[torch.Tensor]) -> bytes:
    """Return an .npz file: `betas` (K,), `originals` (n, C, H, W), `reconstructions` and `samples` (K, n, C, H, W).

    Images are uint8.
    """
    reconstructions, samples = [], []
    for beta in evaluation.betas:
        condition = condition_at(trial.method, beta, len(x), x.device)
        means = model(x, condition, noise).reconstruction
        reconstructions.append(means)
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


def _to_uint8(images: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return images.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
