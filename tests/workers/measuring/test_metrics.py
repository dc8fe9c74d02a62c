"""The metrics of a trial's evaluation: their columns, and their values for a known model."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from evaluation.compute import COMPARED_PHASES
from evaluation.metrics.catalogue import CATALOGUE
from evaluation.records import Point, from_parquet
from models.architectures.registry import configure
from models.vae import ModelOutput, Posterior, gaussian_rate
from workers.accounting.costs import read_costs
from workers.data.digits import Digits
from workers.data.generated.sprites import Sprites
from workers.measuring.generation_metrics import GENERATION_METRICS
from workers.measuring.metrics import POINT_METRICS
from workers.measuring.points import evaluate_points
from workers.running.run import run_trial
from workers.trial import METRICS, BetaVAE, Evaluation, Objective, Training, Trial

SPRITES = Sprites(scales=2, orientations=4, positions=4, side=16)
CPU = torch.device("cpu")


class Oracle:
    """A model that encodes each factor into a separate unit, nearly without noise, or encodes nothing."""

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
        return ModelOutput(torch.full((len(x),), 7.0), rates, (posterior,), x)


def point_of(collapsed, metrics, importance_samples=100):
    return points_of(collapsed, Evaluation((1.0,), metrics=metrics, importance_samples=importance_samples))[0]


def points_of(collapsed, evaluation):
    """Return the points of an oracle on sprites whose pictures are all different."""
    data = SPRITES.load(Path()).test
    pictures = [image.numpy().tobytes() for image in data.pixels]
    first = sorted({picture: row for row, picture in reversed(list(enumerate(pictures)))}.values())
    data = dataclasses.replace(data, pixels=data.pixels[first], labels=data.labels[first], factors=data.factors[first])
    trial = Trial(SPRITES, configure("mlp"), Objective(), BetaVAE(1.0), Training(epochs=1), seed=0)
    return evaluate_points(
        trial, Oracle(data, collapsed), data, evaluation, sweep="s", device=CPU, should_stop=lambda: False
    )


def test_names_are_those_that_specs_may_use():
    assert tuple(sorted([*POINT_METRICS, *GENERATION_METRICS])) == METRICS


@pytest.mark.parametrize("name", sorted(POINT_METRICS.keys() - {"perplexity"}))
def test_a_metric_fills_its_columns_and_no_other(name):
    """Those that the catalogue declares; perplexity, which needs text, has one."""
    point = point_of(collapsed=False, metrics=(name,), importance_samples=2)
    assert set(point.metrics) == {column.column for column in CATALOGUE[name].columns}


def test_a_point_keeps_the_beta_of_every_layer():
    class Layered(Evaluation):
        operating_points = ((0.1, 1.0), (1.0, 0.1))

    points = points_of(False, Layered((1.0,), metrics=("active_units",)))
    assert [point.betas for point in points] == [(0.1, 1.0), (1.0, 0.1)]


def test_a_perfect_code_is_disentangled_and_a_collapsed_one_is_not():
    """MIG and DCI are about 1 where each factor has a separate unit, and 0 where nothing is encoded."""
    perfect_point = point_of(
        collapsed=False, metrics=("mig", "mig_histogram", "dci", "linear_probe", "mutual_information")
    )
    perfect = perfect_point.metrics
    assert perfect["mig"] > 0.95
    assert perfect["mig_histogram"] > 0.8  # squares look alike at 90°, so not every combination is there
    assert perfect["dci_disentanglement"] > 0.9
    assert perfect["probe_accuracy"] == 1
    assert perfect["mutual_information_nats"] == pytest.approx(perfect["mutual_information_cap_nats"], abs=1e-3)
    assert perfect["mutual_information_cap_nats"] == pytest.approx(math.log(perfect_point.examples))
    collapsed = point_of(collapsed=True, metrics=("mig", "mutual_information")).metrics
    assert collapsed["mig"] == pytest.approx(0, abs=1e-6)
    assert collapsed["mutual_information_nats"] == pytest.approx(0, abs=1e-9)


def test_the_importance_weighted_bound_of_a_collapsed_model_is_its_distortion():
    """q(z|x) = p(z), so that every weight is p(x|z), whatever is drawn."""
    point = point_of(collapsed=True, metrics=("importance_weighted_nll",), importance_samples=5)
    assert point.metrics["nll_nats"] == pytest.approx(7.0, abs=1e-6)
    assert point.metrics["nll_samples"] == 5


def test_no_metrics_numbers_hang_on_which_others_are_asked_for():
    alone = point_of(collapsed=False, metrics=("importance_weighted_nll",), importance_samples=3)
    together = point_of(
        collapsed=False, metrics=("importance_weighted_nll", "mutual_information"), importance_samples=3
    )
    assert (alone.metrics["nll_nats"], alone.rate_nats) == (together.metrics["nll_nats"], together.rate_nats)


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
        found = point.metrics
        assert found["nll_nats"] < -point.elbo
        assert 0 < found["mutual_information_nats"] < found["mutual_information_cap_nats"]
        assert found["probe_chance"] < found["probe_accuracy"] <= 1
        assert (
            sum(variance > found["active_units_delta"] for variance in found["unit_variances"]) == found["active_units"]
        )
        assert "mig" not in found
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
        found = point.metrics
        assert found["frechet_classifier"] > 0
        columns = {column.column for column in CATALOGUE["frechet_classifier"].columns}
        assert columns ^ set(found) == {"classifier_kernel_std"}  # so few images are one block, without a deviation
        assert 1 <= found["score_classifier"] <= 10
        assert (found["classifier_examples"], found["classifier_reference_examples"]) == (200, 200)
        assert found["classifier_reference_split"] == "test"
        assert found["classifier_extractor"].startswith("classifier")
        assert 0.3 < found["classifier_test_accuracy"] <= 1


def test_fid_without_weights_is_a_failure_that_says_what_to_do(make_trial, make_context):
    """The trained model and its rate stay; nothing is downloaded unasked."""
    trial = make_trial(epochs=1)
    missing = Path("nowhere/weights.pth")
    evaluation = Evaluation((1.0,), metrics=("fid",), quality_examples=20)
    outcome = run_trial(trial, make_context(trial, evaluation=evaluation, inception_weights=missing))
    assert outcome.state == "done"
    assert "fid failed: WeightsError: nowhere/weights.pth" in outcome.message
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
