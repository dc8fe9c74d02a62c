"""How close training brings the linear VAE to its closed-form optimum on MNIST.

    MRVAE_DATA=FOLDER python -m benchmarks.linear_convergence [EPOCHS]

Grey MNIST in squared error, 32 units. Each network is one trial, trained and measured by `run_trial` on its own
training data; the optimum is that of the same images. `rate` and `distortion` compare at the same β, `curve`
compares the distortion with the curve's at the rate that the network has. 30 epochs by default: minutes a trial.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.operating_points import beta_text
from evaluation.records import Point, from_parquet
from models.architectures.linear.linear import Linear
from models.architectures.linear.optimum import covariance_spectrum, linear_optimum
from workers.data.published.mnist import MNIST
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import BetaVAE, Evaluation, Method, MultiRateVAE, Objective, Resources, Training, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.data.resident import ResidentData

UNITS = 32
BETAS = (0.01, 0.1, 1.0, 3.0, 6.0)
RANGE = (0.01, 10.0)
LEARNING_RATE = 3e-3
CURVE = np.geomspace(1e-4, 20, 4000)


def run(epochs: int = 30) -> None:
    """Print the gaps of a plain network at each β, and of multi-rate networks with both kinds of gate."""
    data = MNIST(binarise="none").load(Path(os.environ.get("MRVAE_DATA", "data")))
    spectrum, _ = covariance_spectrum(data.train.pixels.numpy() / 255)
    print(f"grey MNIST, {len(data.train):,} images, {UNITS} units, {epochs} epochs at {LEARNING_RATE:g}, squared error")
    for beta in BETAS:
        _report("plain", _points(data, Linear(UNITS), BetaVAE(beta), epochs), spectrum)
    for exact, label in ((False, "multi-rate, the paper's gates"), (True, "multi-rate, exact gates")):
        architecture = Linear(UNITS, exact_gates=exact)
        _report(label, _points(data, architecture, MultiRateVAE(*RANGE), epochs), spectrum)


def _points(data: ResidentData, architecture: Linear, method: Method, epochs: int) -> list[Point]:
    training = Training(epochs=epochs, batch_size=128, learning_rate=LEARNING_RATE)
    trial = Trial(MNIST(binarise="none"), architecture, Objective("squared-error"), method, training, seed=0)
    evaluation = Evaluation(BETAS, split="train").for_method(method)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        context = Context(store, "linear", evaluation, Resources(), load_data=lambda _: data)
        outcome = run_trial(trial, context)
        if outcome.state != "done":
            raise SystemExit(f"{method}: {outcome.state}: {outcome.message}")
        name = f"points/{evaluation.eval_id}.parquet"
        return from_parquet(Point, store.trial(trial.trial_id).read(name) or b"", name)


def _report(label: str, points: list[Point], spectrum: NDArray[np.float64]) -> None:
    curve = linear_optimum(spectrum, CURVE, UNITS)
    for point in points:
        best = linear_optimum(spectrum, point.betas, UNITS)
        rate, error = best.rate_nats.item(), best.squared_error.item()
        at_rate = np.interp(point.rate_nats, curve.rate_nats[::-1], curve.squared_error[::-1])
        print(
            f"  {label:30} β {beta_text(point.betas):5} rate {point.rate_nats:8.3f} (optimum {rate:8.3f}, "
            f"{point.rate_nats / rate - 1:+.2%})  distortion {point.distortion:7.3f} (optimum {error:7.3f}, "
            f"{point.distortion / error - 1:+.2%})  curve {point.distortion / at_rate - 1:+.2%}",
            flush=True,
        )


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
