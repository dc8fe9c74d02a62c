from __future__ import annotations

from dataclasses import replace

import pytest

from evaluation.records import Cost
from models.architectures.conv import Conv
from models.architectures.mlp import MLP
from orchestrator.planning.estimate import Observation, estimate_all, observe, share_left
from orchestrator.planning.plan import PlannedTrial
from workers.data.digits import Digits
from workers.data.published.mnist import MNIST
from workers.trial import BetaVAE, Evaluation, Objective, Resources, Training, Trial

TRIAL = Trial(Digits(), MLP(hidden=(16,)), Objective(), BetaVAE(1.0), Training(epochs=2), seed=0)
# Two for a multiply-add, thrice for training, once for each image and β of the evaluation.
WORK = 2 * TRIAL.architecture.multiply_adds((1, 8, 8)) * (3 * 2 * 1297 + 250)
ALIKE = Observation("digits", "mlp", on_gpu=False, work_flops=100.0, device_seconds=5.0)
OTHER = Observation("mnist", "conv", on_gpu=False, work_flops=100.0, device_seconds=7.0)


def planned(trial=TRIAL, gpus=0.0):
    return PlannedTrial(trial, trial.trial_id, Evaluation((1.0,)), Resources(gpus=gpus), "β-VAE", ())


def cost(phase, seconds, images, device_kind="a processor"):
    return Cost("id", 1, phase, "done", seconds, device_kind, 1.0, images, None, None, None, 0.0, "host")


def estimate_one(item, observations):
    return estimate_all([item], observations)[item.trial_id]


def test_without_observations_the_speed_is_nominal():
    """5e10 FLOP/s a CPU thread, 1e13 a GPU; more threads take as many device-seconds, in less time."""
    estimate = estimate_one(planned(), [])
    assert (estimate.device_seconds, estimate.source) == (pytest.approx(WORK / 5e10), "nominal")
    assert estimate_one(planned(gpus=1), []).device_seconds == pytest.approx(WORK / 1e13)
    threaded = replace(TRIAL, training=replace(TRIAL.training, threads=4))
    assert estimate_one(planned(threaded), []).device_seconds == pytest.approx(WORK / 5e10)


def test_trials_like_it_tell_most():
    """The same dataset and architecture win over others."""
    estimate = estimate_one(planned(), [OTHER, ALIKE, ALIKE])
    assert estimate.device_seconds == pytest.approx(WORK * 0.05)
    assert estimate.source == "measured on 2 trials like it"


def test_other_trials_tell_something():
    """Better the speed of this machine on other work than a nominal one."""
    estimate = estimate_one(planned(), [OTHER])
    assert (estimate.device_seconds, estimate.source) == (
        pytest.approx(WORK * 0.07),
        "measured on other trials",
    )


def test_a_gpu_tells_nothing_of_a_cpu():
    """Speeds are of one sort of device."""
    assert estimate_one(planned(), [replace(ALIKE, on_gpu=True)]).source == "nominal"


def test_many_estimates_are_those_of_each():
    """All at once or one by one makes no difference."""
    other = replace(TRIAL, dataset=MNIST(), architecture=Conv())
    trials = [planned(), planned(other)]
    expected = {item.trial_id: estimate_one(item, [ALIKE, OTHER]) for item in trials}
    assert estimate_all(trials, [ALIKE, OTHER]) == expected


def test_costs_of_all_phases_and_attempts_make_an_observation():
    """Seconds of loading and saving are part of what work takes; images tell how much of it was done."""
    rows = [cost("train", 4.0, 300), cost("evaluate", 1.0, 100), cost("checkpoint", 0.5, 0)]
    forward = 2 * TRIAL.architecture.multiply_adds((1, 8, 8))
    assert observe(TRIAL, rows) == Observation("digits", "mlp", False, forward * 1000, 5.5)


def test_time_on_a_shared_device_is_observed_by_its_measured_share():
    shared = replace(cost("train", 8.0, 300), device_count=0.5, measured_share=0.75)
    observation = observe(TRIAL, [shared])
    assert observation is not None
    assert observation.device_seconds == 6.0


def test_costs_without_images_are_no_observation():
    """An attempt that failed before its first step tells nothing of speed."""
    assert observe(TRIAL, [cost("data", 1.0, 0)]) is None


def test_the_device_is_known_by_its_name():
    """Costs of a GPU are told from those of a processor."""
    observation = observe(TRIAL, [cost("train", 1.0, 10, "NVIDIA H200")])
    assert observation is not None
    assert observation.on_gpu


def test_what_is_left_of_a_trial_is_its_share_of_the_work():
    """Epochs that are done cost nothing again, and a trained trial is only evaluated."""
    whole = 3 * 2 * 1297 + 250
    assert share_left(planned(), 0.0, trained=False) == 1.0
    assert share_left(planned(), 0.5, trained=False) == pytest.approx((whole - 3 * 1297 / 2) / whole)
    assert share_left(planned(), 0.0, trained=True) == pytest.approx(250 / whole)
