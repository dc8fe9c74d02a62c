"""The names and steps under which operating points are logged for MLflow."""

import re
from dataclasses import replace

import pytest

from evaluation.metrics.catalogue import QUANTITIES
from evaluation.records import Point
from workers.running.metric_names import point_metrics
from workers.trial import EvaluationOptions


def point(betas, **metrics):
    rates = tuple(2.0 for _ in betas)
    names = ("t", "e", "s", "mr-vae", "digits", "mlp", "beta-elbo")
    return Point(*names, 0, "test", betas, rates, sum(rates), 70.0, "nats", -75.0, 100, 1, metrics=metrics)


def names_of(point, **options):
    return point_metrics(point, EvaluationOptions(**options))


def test_every_quantity_that_was_computed_is_logged_by_its_column():
    """Details of a computation are in Parquet alone."""
    values = {quantity.column: 3 for quantity in QUANTITIES}
    step, found = names_of(point((0.1,), **values, nll_samples=5))
    assert step == -1000
    always = {"test/beta": 0.1, "test/rate_nats": 2.0, "test/distortion": 70.0, "test/elbo": -75.0}
    assert found == always | {f"test/{column}": 3 for column in values}


def test_the_same_beta_for_every_layer_is_logged_as_one():
    (step, found), (_, single) = names_of(point((10.0, 10.0))), names_of(point((10.0,)))
    assert (step, found["test/beta"], found.keys()) == (1000, 10.0, single.keys())


@pytest.mark.parametrize("betas", [(0.1, 1.0), (1.0, 0.1), (10.0**0.6, 10.0**-0.2)])
def test_layers_with_different_betas_are_told_by_the_names(betas):
    """No step stands for two numbers, and no point hides another; MLflow allows these characters."""
    step, found = names_of(point(betas))
    assert step == 0
    assert not found.keys() & names_of(point(betas[::-1]))[1].keys()
    assert not found.keys() & names_of(point(betas[:1]))[1].keys()
    assert {name.rpartition("/")[2] for name in found} == {"rate_nats", "distortion", "elbo"}
    assert all(re.fullmatch(r"[\w./-]+", name) for name in found)


def test_layers_with_betas_that_are_close_are_told_apart():
    """In all their digits."""
    close = names_of(point((0.1, 1.0)))[1].keys() & names_of(point((0.1000001, 1.0)))[1].keys()
    assert not close


def test_an_evaluation_on_fewer_examples_has_its_own_names():
    """It measures the same model on other examples."""
    _, found = names_of(point((1.0,)), limit=100)
    assert set(found) == {f"test_first_100/{name}" for name in ("beta", "rate_nats", "distortion", "elbo")}


def test_options_that_change_a_value_are_in_its_name():
    """The usual ones are not, so that names are short and stay what they were."""
    values = {"active_units": 3, "psnr_db": 20.0}
    _, found = names_of(point((1.0,), **values), active_units_delta=0.1, importance_samples=7)
    assert {"test/active_units_active_units_delta_0.1", "test/psnr_db"} <= set(found)
    assert "test/active_units" in names_of(point((1.0,), **values))[1]


def test_the_training_split_is_not_taken_for_training():
    """The names of its operating points are others than those of the epochs."""
    _, found = names_of(replace(point((1.0,)), split="train"))
    assert all(name.startswith("train_split/") for name in found)
