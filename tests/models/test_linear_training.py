"""Trained as any other trial, the linear VAE reaches its closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.architectures.linear.linear import Linear
from models.architectures.linear.optimum import covariance_spectrum, expected_rate_and_distortion, linear_optimum
from workers.data.dataset import Dataset
from workers.data.resident import Images, ResidentData
from workers.outcome import Outcome
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.training.checkpoint import FINAL
from workers.training.conditioning import condition_on
from workers.training.state import load_trained_model
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial

SPECTRUM = np.array([0.5, 0.3, 0.2, 0.12] + [0.005] * 20)
EXAMPLES = 4096


@dataclass(frozen=True)
class Gaussian(Dataset):
    """Images of 4×6 pixels from a normal distribution with four strong directions."""

    name = "gaussian"
    shape = (1, 4, 6)
    train_examples = EXAMPLES
    test_examples = EXAMPLES


@pytest.fixture(scope="module")
def images() -> Images:
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.standard_normal((24, 24)))
    values = 0.5 + (random.standard_normal((EXAMPLES, 24)) * np.sqrt(SPECTRUM)) @ basis.T
    pixels = np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    return Images(torch.from_numpy(pixels.reshape(EXAMPLES, *Gaussian.shape)), None)


@pytest.fixture
def measured(tmp_path, images):
    """Return functions that train by `run_trial` and give β, rates and distortions on the training data.

    These are exact expectations over the posterior, of the stored weights.
    """
    flat = images.pixels.numpy().reshape(EXAMPLES, -1) / 255
    covariance = np.cov(flat, rowvar=False, bias=True)

    def train(method, units, epochs):
        training = Training(epochs=epochs, batch_size=128, learning_rate=1e-2)
        trial = Trial(Gaussian(), Linear(units), Objective("squared-error"), method, training, seed=0)
        evaluation = Evaluation((0.05, 0.1, 0.2, 0.4), split="train", pictures=2).for_method(method)
        data = ResidentData(images, images, images)
        context = Context(Store(tmp_path), "linear", evaluation, Resources(), load_data=lambda _: data)
        assert run_trial(trial, context) == Outcome("done")
        model = load_trained_model(trial, context.store.trial(trial.trial_id).read(FINAL), torch.device("cpu"))
        np.testing.assert_allclose(model.mean.detach(), flat.mean(0), atol=0.01)
        conditions = [condition_on(method, torch.tensor([[beta]])) for beta in evaluation.betas]
        maps = [[each.double().numpy() for each in model.maps(condition)] for condition in conditions]
        pairs = [expected_rate_and_distortion(*each, covariance) for each in maps]
        return np.array(evaluation.betas), *np.array(pairs).T

    return train


@pytest.fixture(scope="module")
def spectrum(images) -> np.ndarray:
    return covariance_spectrum(images.pixels.numpy() / 255)[0]


@pytest.mark.parametrize("beta", [0.1, 0.3])
def test_a_plain_network_reaches_the_optimum_within_one_percent(measured, spectrum, beta):
    """In rate and in distortion on the training data; at the second β one of the four units is collapsed."""
    _, rates, distortions = measured(BetaVAE(beta), units=4, epochs=40)
    optimum = linear_optimum(spectrum, [beta], 4)
    assert optimum.active.sum() == {0.1: 4, 0.3: 3}[beta]
    np.testing.assert_allclose(rates, optimum.rate_nats, rtol=0.01)
    np.testing.assert_allclose(distortions, optimum.squared_error, rtol=0.01)


def test_one_multi_rate_network_comes_close_to_the_whole_curve(measured, spectrum):
    """Its loss is within two per cent of the optimum's at every β, across two collapses, after a short training."""
    betas, rates, distortions = measured(MultiRateVAE(0.04, 0.5), units=8, epochs=60)
    optimum = linear_optimum(spectrum, betas, 8)
    expected = optimum.squared_error + betas * optimum.rate_nats
    np.testing.assert_allclose(distortions + betas * rates, expected, rtol=0.02)
