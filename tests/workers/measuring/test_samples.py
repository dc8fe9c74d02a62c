"""Latent traversals of a model whose every pixel is known, and the cases without traversals."""

import io
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.architectures.registry import configure
from models.gates import standardise_log_beta
from models.likelihoods import LIKELIHOODS
from models.vae import VAE, SingleLatentVAE
from workers.data.generated.phrases import Phrases
from workers.data.resident import Images
from workers.measuring.samples import MOST_TRAVERSED_BETAS, _spread, draw_samples
from workers.trial import BetaVAE, Evaluation, MultiRateVAE

CPU = torch.device("cpu")
SCALES = torch.tensor([1.0, 4.0, 2.0, 8.0, 0.5, 3.0, 0.0, 6.0])
RANKED = [3, 7, 1, 5, 2, 0]
VALUES = np.linspace(-2.5, 2.5, 7)


class Scaling(nn.Module):
    """q(z|x): the mean of unit k is pixel k times its scale, and under a condition c its scale to the power c."""

    def forward(self, x, condition):
        power = 1.0 if condition is None else condition
        mean = x.flatten(1)[:, : len(SCALES)] * SCALES.clamp(min=1e-3) ** power
        return mean, torch.zeros_like(mean)


class Pixels(nn.Module):
    """The logit of pixel k is unit k; pixels beyond the units are black."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, z, _condition):
        logits = torch.full((len(z), math.prod(self.shape)), -100.0)
        logits[:, : z.shape[1]] = z
        return logits.unflatten(1, self.shape)


def model_of(shape=(1, 2, 4), *, multi_rate=False):
    return SingleLatentVAE(Scaling(), Pixels(shape), len(SCALES), LIKELIHOODS["bernoulli"], multi_rate)


def images_of(examples=40, shape=(1, 2, 4), **changes):
    """Return random images of which each of the first 8 pixels varies about alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (examples, *shape), dtype=np.uint8)
    return Images(torch.from_numpy(pixels), None, **changes)


def shown(model, data, *, method=None, betas=(1.0,), pictures=3):
    method = method or BetaVAE(1.0)
    trial = SimpleNamespace(method=method)
    name, content = draw_samples(trial, model, data, Evaluation(betas, pictures=pictures), CPU)
    assert name.startswith("pictures/")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def grey(latents):
    """Return the grey values of a Bernoulli mean with these logits."""
    return np.rint(255 / (1 + np.exp(-np.asarray(latents, dtype=np.float64))))


def test_a_unit_is_moved_and_the_others_stay_at_the_posterior_mean():
    """Every pixel of every image, from the first test image and the definition."""
    data = images_of()
    arrays = shown(model_of(), data)
    means = data.pixels[0].flatten().double().numpy() / 255 * SCALES.numpy()
    assert arrays["traversals"].shape == (1, 6, 7, 1, 2, 4)
    np.testing.assert_allclose(arrays["traversal_values"], VALUES, atol=1e-12)
    assert arrays["traversal_values"][3] == 0
    for rank, unit in enumerate(RANKED):
        for place, value in enumerate(VALUES):
            expected = means.copy()
            expected[unit] = value
            # One grey value: what is rounded is a float32 here and a float64 there.
            np.testing.assert_allclose(arrays["traversals"][0, rank, place].ravel(), grey(expected), atol=1)


def test_units_are_ranked_by_the_variance_of_their_posterior_mean():
    data = images_of()
    arrays = shown(model_of(), data)
    variances = (data.pixels.flatten(1).double().numpy() / 255 * SCALES.numpy()).var(axis=0, ddof=1)
    assert arrays["traversed_units"].tolist() == [RANKED]
    np.testing.assert_allclose(arrays["traversed_variances"][0], variances[RANKED], rtol=1e-5)


def test_a_multi_rate_model_is_ranked_and_decoded_at_each_beta():
    """Small scales lead where the condition is negative, great ones where it is positive."""
    method = MultiRateVAE(0.01, 1.0)
    betas = (0.01, 1.0)
    low, high = standardise_log_beta(torch.tensor(betas), 0.01, 1.0).tolist()
    assert low < 0 < high
    data = images_of()
    arrays = shown(model_of(multi_rate=True), data, method=method, betas=betas)
    assert arrays["traversal_betas"].tolist() == list(betas)
    assert arrays["traversed_units"].tolist() == [[6, 4, 0, 2, 5, 1], RANKED]
    means = data.pixels[0].flatten().double().numpy() / 255 * SCALES.clamp(min=1e-3).numpy() ** low
    means[6] = VALUES[0]
    np.testing.assert_allclose(arrays["traversals"][0, 0, 0].ravel(), grey(means), atol=1)


def test_the_ranking_looks_at_the_first_500_examples():
    """A pixel that varies only after them leads no more than one that never does."""
    pixels = np.zeros((1000, 1, 2, 4), np.uint8)
    pixels[::2, 0, 0, 0] = 255  # unit 0, from the start
    pixels[500::2, 0, 0, 3] = 255  # unit 3, of the greatest scale
    arrays = shown(model_of(), Images(torch.from_numpy(pixels), None))
    assert arrays["traversed_units"][0, 0] == 0
    assert arrays["traversed_variances"][0, 1:].tolist() == [0] * 5


def test_the_traversed_image_is_the_first_that_is_shown():
    """Also where the data are drawn again at each use."""
    data = images_of(dynamic=True)
    arrays = shown(model_of(), data)
    means = arrays["originals"][0].ravel() / 255 * SCALES.numpy()
    means[RANKED[0]] = 0.0
    np.testing.assert_allclose(arrays["traversals"][0, 0, 3].ravel(), grey(means), atol=1)


def test_the_same_model_gives_the_same_file():
    data = images_of(dynamic=True)
    trial, evaluation = SimpleNamespace(method=BetaVAE(1.0)), Evaluation((1.0,))
    assert draw_samples(trial, model_of(), data, evaluation, CPU) == draw_samples(
        trial, model_of(), data, evaluation, CPU
    )


@pytest.mark.parametrize(
    ("shape", "units", "values"),
    [((3, 64, 64), 6, 7), ((1, 64, 65), 6, 7), ((3, 64, 65), 4, 5), ((3, 96, 96), 3, 3)],
)
def test_larger_images_have_fewer_units_and_values(shape, units, values):
    """The number hangs on the shape alone, so that every trial of a sweep has the same."""
    arrays = shown(model_of(shape), images_of(4, shape), pictures=1)
    assert arrays["traversals"].shape == (1, units, values, *shape)
    assert arrays["traversal_values"][[0, -1]].tolist() == [-2.5, 2.5]


def test_a_model_of_few_units_has_all_of_them():
    model = configure("mlp", hidden=[4], latent_units=2).build((1, 2, 4), "bernoulli", None)
    assert sorted(shown(model, images_of())["traversed_units"][0]) == [0, 1]


class TwoLayers(VAE):
    """Obeys the contract, but the noise of a layer is not its latents."""

    latent_shapes = ((8,), (8,))
    multi_rate = False
    distortion_unit = "nats"

    def __init__(self):
        super().__init__()
        self.lower = model_of()

    def forward(self, x, condition, noise):
        return self.lower(x, condition, noise[:1])

    def generate(self, noise, condition):
        return self.lower.generate([noise[0] + noise[1]], condition)


@pytest.mark.parametrize(
    ("model", "data", "pictures"),
    [
        (TwoLayers(), images_of(), 3),
        (model_of(), images_of(1), 3),
        (model_of(), images_of(), 0),
        (model_of((3, 200, 200)), images_of(2, (3, 200, 200)), 1),
    ],
    ids=["two layers", "one example ranks no unit", "no pictures", "images too large"],
)
def test_there_are_no_traversals_where_they_say_nothing(model, data, pictures):
    arrays = shown(model, data, pictures=pictures)
    assert set(arrays) == {"betas", "originals", "reconstructions", "samples"}
    assert len(arrays["originals"]) == min(pictures, len(data))


def test_text_has_no_traversals():
    data = Phrases(train_limit=16).load(Path()).test
    model = configure("lstm", latent_units=2, layout="texar", embedding_units=4, hidden_units=4)
    model = model.build(data.shape, "categorical", None)
    name, _ = draw_samples(SimpleNamespace(method=BetaVAE(1.0)), model, data, Evaluation((1.0,), pictures=2), CPU)
    assert name.startswith("texts/")


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60, unique=True))
def test_of_many_betas_some_are_traversed_with_both_ends(betas):
    kept = [beta for (beta,) in _spread([(beta,) for beta in betas])]
    assert kept == sorted(set(kept) & set(betas))
    assert len(kept) == min(len(betas), MOST_TRAVERSED_BETAS)
    assert (kept[0], kept[-1]) == (min(betas), max(betas))
