"""Metrics as a trial's evaluation asks for them: their columns, and what they come to on a known model."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from evaluation.compute import COMPARED_PHASES
from evaluation.records import Point, from_parquet
from models.registry import configure
from models.vae import Evidence, Posterior, gaussian_rate
from workers.costs import read_costs
from workers.data.digits import Digits
from workers.data.sprites import Sprites
from workers.measures import MEASURES
from workers.measuring import measure
from workers.quality_columns import QUALITY_METRICS
from workers.run import run_trial
from workers.trial import METRICS, BetaVAE, Evaluation, Objective, Training, Trial

SPRITES = Sprites(scales=2, orientations=4, positions=4, side=16)
CPU = torch.device("cpu")


class Oracle:
    """A model that encodes each factor into a unit of its own, nearly without noise, or says nothing at all."""

    latent_shapes = ((6,),)
    distortion_unit = "nats"

    def __init__(self, data, collapsed):
        self.images = {
            image.numpy().tobytes(): factors for image, factors in zip(data.pixels, data.factors, strict=True)
        }
        self.collapsed = collapsed

    def eval(self):
        return self

    def __call__(self, x, _condition, noise):
        factors = torch.stack([self.images[(image * 255).to(torch.uint8).numpy().tobytes()] for image in x]).float()
        mean = torch.zeros_like(factors) if self.collapsed else factors
        log_variance = torch.zeros_like(mean) if self.collapsed else torch.full_like(mean, -12.0)
        posterior = Posterior(mean, log_variance, mean + torch.exp(0.5 * log_variance) * noise[0])
        rates = gaussian_rate(mean, log_variance).unsqueeze(1)
        return Evidence(torch.full((len(x),), 7.0), rates, (posterior,), None)


def point_of(collapsed, metrics, importance_samples=100):
    """Return what is measured of an oracle on sprites whose pictures are all different."""
    data = SPRITES.load(Path()).test
    pictures = [image.numpy().tobytes() for image in data.pixels]
    first = sorted({picture: row for row, picture in reversed(list(enumerate(pictures)))}.values())
    data = dataclasses.replace(data, pixels=data.pixels[first], labels=data.labels[first], factors=data.factors[first])
    trial = Trial(SPRITES, configure("mlp"), Objective(), BetaVAE(1.0), Training(epochs=1), seed=0)
    evaluation = Evaluation((1.0,), metrics=metrics, importance_samples=importance_samples)
    return measure(trial, Oracle(data, collapsed), data, evaluation, sweep="s", device=CPU, should_stop=lambda: False)[
        0
    ]


def test_names_are_those_that_specs_may_use():
    assert tuple(sorted([*MEASURES, *QUALITY_METRICS])) == METRICS


def test_a_perfect_code_is_disentangled_and_a_collapsed_one_is_not():
    """MIG and DCI about 1 where each factor has a unit of its own; 0 where nothing is encoded."""
    perfect = point_of(collapsed=False, metrics=("mig", "mig_histogram", "dci", "linear_probe", "mutual_information"))
    assert perfect.mig > 0.95
    assert perfect.mig_histogram > 0.8  # squares look alike at 90°, so not every combination is there
    assert perfect.dci_disentanglement > 0.9
    assert perfect.probe_accuracy == 1
    assert perfect.mutual_information_nats == pytest.approx(perfect.mutual_information_cap_nats, abs=1e-3)
    assert perfect.mutual_information_cap_nats == pytest.approx(math.log(perfect.examples))
    collapsed = point_of(collapsed=True, metrics=("mig", "mutual_information"))
    assert collapsed.mig == pytest.approx(0, abs=1e-6)
    assert collapsed.mutual_information_nats == pytest.approx(0, abs=1e-9)


def test_the_importance_weighted_bound_of_a_collapsed_model_is_its_distortion():
    """q(z|x) = p(z), so that every weight is p(x|z), whatever is drawn."""
    point = point_of(collapsed=True, metrics=("importance_weighted_nll",), importance_samples=5)
    assert point.nll_nats == pytest.approx(7.0, abs=1e-6)
    assert point.nll_samples == 5


def test_no_metrics_numbers_hang_on_which_others_are_asked_for():
    alone = point_of(collapsed=False, metrics=("importance_weighted_nll",), importance_samples=3)
    together = point_of(
        collapsed=False, metrics=("importance_weighted_nll", "mutual_information"), importance_samples=3
    )
    assert (alone.nll_nats, alone.rate_nats) == (together.nll_nats, together.rate_nats)


def test_metrics_of_a_trained_model_are_in_its_points(make_trial, make_context):
    """Trained, evaluated and read back: the bound tightens the ELBO, and what was not asked for is null."""
    trial = make_trial(epochs=2)
    names = ("active_units", "importance_weighted_nll", "linear_probe", "mutual_information")
    evaluation = Evaluation((0.1, 1.0), metrics=names, importance_samples=20)
    context = make_context(trial, evaluation=evaluation)
    assert run_trial(trial, context).state == "done"
    folder = context.store.trial(trial.trial_id)
    name = f"points/{context.evaluation.eval_id}.parquet"
    for point in from_parquet(Point, folder.read(name), name):
        assert point.nll_nats < -point.elbo
        assert 0 < point.mutual_information_nats < point.mutual_information_cap_nats
        assert point.probe_chance < point.probe_accuracy <= 1
        assert sum(variance > point.active_units_delta for variance in point.unit_variances) == point.active_units
        assert point.mig is None
    assert isinstance(trial.dataset, Digits)


def test_generated_images_are_compared_by_the_datasets_classifier(make_trial, make_context):
    """With what it can only be compared at: the network, N, its accuracy; under its own name and never as FID."""
    trial = make_trial(epochs=2)
    evaluation = Evaluation((0.1, 1.0), metrics=("frechet_classifier",), quality_examples=200)
    context = make_context(trial, evaluation=evaluation)
    outcome = run_trial(trial, context)
    assert outcome.state == "done", outcome.message
    folder = context.store.trial(trial.trial_id)
    name = f"points/{context.evaluation.eval_id}.parquet"
    for point in from_parquet(Point, folder.read(name), name):
        assert point.frechet_classifier > 0
        assert point.kernel_classifier is not None
        assert 1 <= point.score_classifier <= 10
        assert (point.classifier_examples, point.classifier_reference_examples) == (200, 200)
        assert point.classifier_reference_split == "test"
        assert point.classifier_extractor.startswith("classifier")
        assert 0.3 < point.classifier_test_accuracy <= 1
        assert (point.fid, point.inception_extractor) == (None, None)


def test_fid_without_weights_is_a_failure_that_says_what_to_do(make_trial, make_context):
    """The trained model stays; nothing is downloaded unasked."""
    trial = make_trial(epochs=1)
    missing = Path("nowhere/weights.pth")
    evaluation = Evaluation((1.0,), metrics=("fid",), quality_examples=20)
    outcome = run_trial(trial, make_context(trial, evaluation=evaluation, inception_weights=missing))
    assert outcome.state == "failed"
    assert "nowhere/weights.pth" in outcome.message
    assert "frechet_classifier" in outcome.message


def test_further_metrics_have_a_phase_of_their_own(make_trial, make_context):
    """Or asking for one more would make a method dearer in the comparison, which counts rate and distortion alone."""
    trial = make_trial(epochs=1)
    names = ("importance_weighted_nll", "mutual_information")
    context = make_context(trial, evaluation=Evaluation((0.1, 1.0), metrics=names, importance_samples=5))
    assert run_trial(trial, context).state == "done"
    phases = {cost.phase for cost in read_costs(context.store.trial(trial.trial_id))}
    assert {"evaluate", "metrics"} <= phases
    assert "metrics" not in COMPARED_PHASES
