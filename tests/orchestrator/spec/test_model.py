from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from evaluation.metrics.catalogue import Need
from models.architectures.registry import ARCHITECTURES
from orchestrator.spec.betas import log_spaced
from orchestrator.spec.checks import validated
from orchestrator.spec.model import json_schema
from workers.data.registry import DATASETS


def minimal(**changes):
    return {
        "name": "small",
        "dataset": {"name": "digits"},
        "architecture": {"name": "mlp"},
        "methods": [{"kind": "beta-vae", "betas": [1]}],
        "training": {"epochs": 10},
        **changes,
    }


def problems(**changes):
    with pytest.raises(ValidationError) as caught:
        validated(minimal(**changes))
    # A list of which nothing is right is called too short by pydantic as well; its items are of interest.
    errors = [error for error in caught.value.errors() if error["type"] != "too_short" or not error["input"]]
    return [(error["loc"], error["msg"]) for error in errors]


def test_defaults_are_those_of_the_dataclasses():
    """What a spec leaves out is what the configurations themselves default to."""
    spec = validated(minimal())
    assert spec.dataset == DATASETS["digits"]()
    assert spec.architecture == ARCHITECTURES["mlp"]()


@pytest.mark.parametrize("registry", [DATASETS, ARCHITECTURES])
def test_schema_lists_every_option_of_every_choice_with_a_description(registry):
    """Editors see all that the registries hold, and words on each."""
    definitions = json_schema()["$defs"]
    for name, configures in registry.items():
        properties = definitions[f"{configures.__name__}Section"]["properties"]
        assert properties["name"]["const"] == name
        assert set(properties) == {"name", *(field.name for field in dataclasses.fields(configures))}
        assert all(option["description"] for option in properties.values())


def test_schema_lists_the_paths_of_a_grid():
    """An editor can complete what a grid may vary."""
    branches = json_schema()["properties"]["grid"]["anyOf"]
    paths = next(branch["properties"] for branch in branches if branch.get("type") == "object")
    assert {"training.learning_rate", "architecture.hidden", "dataset.binarise"} <= set(paths)


def test_log_spaced_keeps_the_ends_and_rounds_between():
    """A grid gives the numbers that a person would write, so that lists and grids share trials."""
    assert log_spaced(0.01, 10, 4) == (0.01, 0.1, 1.0, 10)


def test_architecture_must_take_the_shape_of_the_data():
    """The message says which shapes it takes, what the data has, and what would fit."""
    ((location, text),) = problems(architecture={"name": "conv"})
    assert location == ("architecture", "name")
    assert "1x28x28" in text
    assert "1x8x8" in text
    assert "'mlp'" in text


def test_a_metric_the_data_cannot_give_says_what_would_make_it_possible():
    """Bits per dimension want binary data and a Bernoulli likelihood; both lacks are named."""
    ((location, text),) = problems(
        dataset={"name": "digits", "binarise": "none"},
        objective={"likelihood": "squared-error"},
        evaluation={"metrics": ["bits_per_dimension"]},
    )
    assert location == ("evaluation", "metrics", 0)
    assert "dataset.binarise" in text
    assert "objective.likelihood" in text


GREY = {"dataset": {"name": "digits", "binarise": "none"}}
TEXT = {
    "dataset": {"name": "phrases"},
    "architecture": {"name": "lstm"},
    "objective": {"likelihood": "categorical"},
}


@pytest.mark.parametrize(
    ("metric", "content", "needs"),
    [
        ("psnr", TEXT, [Need.IMAGES]),
        ("perplexity", {}, [Need.TEXT]),
        ("mig", {}, [Need.FACTORS]),
        ("dci", {}, [Need.FACTORS]),
        ("fid", TEXT, [Need.GREY_OR_RGB]),
        ("linear_probe", {"dataset": {"name": "celeba64"}, "architecture": {"name": "conv"}}, [Need.LABELS]),
        ("frechet_classifier", TEXT, [Need.IMAGES, Need.LABELS]),
        ("importance_weighted_nll", {"objective": {"likelihood": "squared-error"}}, [Need.LIKELIHOOD]),
        ("importance_weighted_nll", GREY, [Need.LIKELIHOOD]),
        ("bits_per_dimension", GREY, [Need.BINARY_IMAGES]),
        ("bits_per_dimension", TEXT, [Need.BINARY_IMAGES, Need.BERNOULLI]),
    ],
)
def test_a_metric_says_what_it_needs(metric, content, needs):
    ((location, text),) = problems(**content, evaluation={"metrics": ["active_units", metric]})
    assert location == ("evaluation", "metrics", 1)
    assert text == f"{metric} needs {' and '.join(need.value for need in needs)}"


def test_a_metric_must_be_possible_everywhere_on_the_grid():
    """One combination that cannot give the metric is enough to refuse it."""
    ((location, _),) = problems(
        grid={"dataset.binarise": ["threshold", "none"]}, evaluation={"metrics": ["bits_per_dimension"]}
    )
    assert location == ("evaluation", "metrics", 0)


def test_grid_combinations_are_checked_together():
    """Values that are right one by one and wrong together are refused."""
    ((location, text),) = problems(grid={"training.epochs": [5, 20], "training.warmup_epochs": [0, 8]})
    assert location == ("grid", "training.warmup_epochs")
    assert "below epochs (5)" in text


def test_a_grid_value_may_be_wrong_only_with_what_it_replaces():
    """What counts is the combination, not the value that the grid replaces."""
    changes = {"grid": {"training.epochs": [20], "training.warmup_epochs": [15]}}
    assert validated(minimal(**changes)).grid == {
        "training.epochs": (20,),
        "training.warmup_epochs": (15,),
    }


def test_a_grid_that_every_method_overrides_is_refused():
    """Such a grid would change nothing."""
    methods = [{"kind": "beta-vae", "betas": [1], "training": {"learning_rate": 0.01}}]
    ((location, _),) = problems(methods=methods, grid={"training.learning_rate": [0.1, 0.2]})
    assert location == ("grid", "training.learning_rate")


def test_overrides_of_a_method_are_checked_with_the_training_they_change():
    """A method's own options must fit the sweep's."""
    methods = [{"kind": "beta-vae", "betas": [1], "training": {"warmup_epochs": 10}}]
    ((location, _),) = problems(methods=methods)
    assert location == ("methods", 0, "training", "warmup_epochs")


def test_a_sweep_has_a_largest_size():
    """A slip of the pen is refused before it is expanded."""
    ((location, text),) = problems(seeds=list(range(1001)), methods=[grid_of_betas(100)])
    assert location == ("methods",)
    assert "100,100 trials" in text


def grid_of_betas(count):
    return {"kind": "beta-vae", "betas": {"from": 0.01, "to": 10, "count": count}}


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        (
            {"methods": [{"kind": "beta-vae", "betas": [1, 0]}]},
            ("methods", 0, "beta-vae", "betas", "array", 1),
        ),
        ({"methods": []}, ("methods",)),
        ({"seeds": []}, ("seeds",)),
        ({"seeds": [1, 1]}, ("seeds", 1)),
        ({"grid": {}}, ("grid",)),
        ({"grid": {"training.epochs": []}}, ("grid", "training.epochs")),
        ({"training": {"epochs": True}}, ("training", "epochs")),
        ({"training": {"epochs": 2, "learning_rate": float("nan")}}, ("training", "learning_rate")),
        ({"resources": {"cpus": 0}}, ("resources", "cpus")),
        ({"evaluation": {"betas": []}}, ("evaluation", "betas", "array")),
    ],
)
def test_bad_values_are_refused_where_they_stand(changes, location):
    """Each is one problem, at its own place."""
    assert [found for found, _ in problems(**changes)] == [location]


def test_a_range_too_narrow_for_its_count_is_refused():
    """Rounded β would repeat."""
    methods = [{"kind": "beta-vae", "betas": {"from": 1, "to": 1.0001, "count": 5000}}]
    ((location, _),) = problems(methods=methods)
    assert location[-1] == "count"
