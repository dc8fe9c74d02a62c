from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import SPEC
from orchestrator.planning.plan import launch_order, plan
from orchestrator.spec.betas import log_spaced
from orchestrator.spec.file import spec_from_text

RECIPES = Path(__file__).parents[3] / "recipes"

BETAS = st.floats(1e-6, 1e6)
SEEDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True)


def small(**changes):
    return {
        "name": "small",
        "dataset": {"name": "digits"},
        "architecture": {"name": "mlp", "hidden": [16]},
        "methods": [
            {"kind": "mr-vae", "beta_range": [0.01, 10]},
            {"kind": "beta-vae", "betas": [0.1, 1]},
        ],
        "training": {"epochs": 3, "learning_rate": 1},
        "seeds": [0, 1],
        **changes,
    }


def planned(content):
    return plan(spec_from_text(yaml.safe_dump(content, sort_keys=False), "test")).trials


def ids(content):
    return [trial.trial_id for trial in planned(content)]


@st.composite
def contents(draw):
    """Specs that differ in what makes a trial."""
    betas = draw(st.lists(BETAS, min_size=1, max_size=4, unique=True))
    training = {
        "epochs": draw(st.integers(1, 100)),
        "learning_rate": draw(st.floats(1e-9, 1)),
        "schedule": draw(st.sampled_from(["constant", "cosine"])),
    }
    methods = [{"kind": "mr-vae", "beta_range": [0.01, 10]}, {"kind": "beta-vae", "betas": betas}]
    return small(methods=methods, training=training, seeds=draw(SEEDS))


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=30)
@given(contents())
def test_the_order_of_keys_is_no_identity(content):
    """A mapping is the same however it is written."""
    assert ids(reordered(content)) == ids(content)


@settings(max_examples=30)
@given(contents(), st.randoms())
def test_the_order_of_seeds_is_no_identity(content, random):
    """The same seeds make the same trials."""
    seeds = list(content["seeds"])
    random.shuffle(seeds)
    assert set(ids({**content, "seeds": seeds})) == set(ids(content))


def test_whole_numbers_may_be_written_either_way():
    """A β or learning rate of 1 is one of 1.0."""
    methods = [{"kind": "mr-vae", "beta_range": [0.01, 10.0]}, {"kind": "beta-vae", "betas": [0.1, 1.0]}]
    assert ids(small(methods=methods, training={"epochs": 3, "learning_rate": 1.0})) == ids(small())


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"description": "words"},
        {"resources": {"cpus": 2, "gpus": 1, "memory_gib": 3}},
        {"evaluation": {"metrics": ["bits_per_dimension"], "betas": [1], "split": "validation"}},
    ],
)
def test_what_is_said_about_trials_is_no_identity(change):
    """Names, resources and measurements retrain nothing."""
    assert ids(small(**change)) == ids(small())


@settings(max_examples=30)
@given(contents(), BETAS, st.integers(0, 2**63 - 1))
def test_more_of_anything_keeps_what_there_is(content, beta, seed):
    """Another β, seed or method adds trials and changes none."""
    before = set(ids(content))
    rate_method, beta_method = content["methods"]
    betas = list(dict.fromkeys([*beta_method["betas"], beta]))
    monotonic = {"kind": "beta-vae", "betas": [beta], "annealing": "monotonic"}
    more = {
        **content,
        "methods": [rate_method, {**beta_method, "betas": betas}, monotonic],
        "seeds": list(dict.fromkeys([*content["seeds"], seed])),
    }
    assert before < set(ids(more))


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [2, 3]},
        {"training": {"epochs": 4, "learning_rate": 1}},
        {"training": {"epochs": 3, "learning_rate": 0.5}},
        {"training": {"epochs": 3, "learning_rate": 1, "threads": 2}},
        {"dataset": {"name": "digits", "train_limit": 9}},
        {"architecture": {"name": "mlp", "hidden": [17]}},
        {"objective": {"likelihood": "squared-error"}},
        {
            "methods": [
                {"kind": "mr-vae", "beta_range": [0.02, 10]},
                {"kind": "beta-vae", "betas": [0.1, 1], "annealing": "cyclic"},
            ]
        },
    ],
)
def test_what_decides_the_numbers_is_identity(change):
    """No trial is shared where anything that is trained with differs."""
    assert not set(ids(small(**change))) & set(ids(small()))


def test_identities_are_pinned():
    """These may change only where NUMERICS in workers/numerics.py is raised: stored results answer to them."""
    multi_rate, plain, _ = plan(spec_from_text(SPEC, "spec")).trials
    assert multi_rate.trial_id == "fc0bbf07ea0193ab60014d1a4c4d2593e260e601eae5a82e7bf2f953d382ed17"
    assert multi_rate.evaluation.eval_id == "8af271b63735ffb2"
    assert plain.trial_id == "3ed7464cf15aa3af08ffa2a1062903d06fdb994cb4066072e45cbcbb122b5391"
    assert plain.evaluation.eval_id == "9453735eca4a3863"


def test_the_plan_is_in_the_order_of_the_spec():
    """Grid, then methods and their β, then seeds."""
    found = planned(small(grid={"architecture.latent_units": [2, 4]}))
    order = [(item.trial.architecture.latent_units, item.trial.method.trained_betas, item.trial.seed) for item in found]
    betas = [((0.01,), (10.0,)), ((0.1,),), ((1.0,),)]
    assert order == [(units, beta, seed) for units in (2, 4) for beta in betas for seed in (0, 1)]


def test_what_two_methods_have_in_common_is_planned_once():
    """The same β in two lists is one trial, under the first one's label."""
    methods = [{"kind": "beta-vae", "betas": [0.1, 1]}, {"kind": "beta-vae", "betas": [1, 10]}]
    found = planned(small(methods=methods, seeds=[0]))
    assert [item.trial.method.beta for item in found] == [0.1, 1, 10]


def test_a_grid_is_a_product_and_labels_its_curves():
    """Every combination is trained, and named by what it was given."""
    grid = {"training.learning_rate": [1e-3, 3e-4], "architecture.hidden": [[8], [8, 4]]}
    found = planned(small(grid=grid, methods=[{"kind": "mr-vae", "beta_range": [0.1, 1]}], seeds=[0]))
    assert [item.series for item in found] == [
        "MR-VAE · learning_rate=0.001, hidden=[8]",
        "MR-VAE · learning_rate=0.001, hidden=[8, 4]",
        "MR-VAE · learning_rate=0.0003, hidden=[8]",
        "MR-VAE · learning_rate=0.0003, hidden=[8, 4]",
    ]
    assert (found[0].trial.training.learning_rate, found[0].trial.architecture.hidden) == (0.001, (8,))


def test_what_a_method_overrides_the_grid_does_not_vary():
    """Its trials are planned once, and are not labelled with values that they do not have."""
    methods = [
        {"kind": "mr-vae", "beta_range": [0.1, 1]},
        {"kind": "beta-vae", "betas": [1], "training": {"learning_rate": 0.5}},
    ]
    found = planned(small(methods=methods, grid={"training.learning_rate": [0.1, 0.2]}, seeds=[0]))
    assert [(item.series, item.trial.training.learning_rate) for item in found] == [
        ("MR-VAE · learning_rate=0.1", 0.1),
        ("β-VAE, constant", 0.5),
        ("MR-VAE · learning_rate=0.2", 0.2),
    ]


def test_labels_tell_apart_what_differs():
    """Gates, schedules, ranges and own training options are named where the curve would not be clear else."""
    methods = [
        {"kind": "mr-vae", "beta_range": [0.01, 10]},
        {"kind": "mr-vae", "beta_range": [0.1, 1]},
        {"kind": "mr-vae", "beta_range": [0.1, 1], "decoder_gate": "sigmoid"},
        {"kind": "beta-vae", "betas": [1], "annealing": "monotonic"},
        {"kind": "beta-vae", "betas": [1]},
        {"kind": "beta-vae", "betas": [1], "training": {"learning_rate": 0.5}},
    ]
    assert [item.series for item in planned(small(methods=methods, seeds=[0]))] == [
        "MR-VAE, β from 0.01 to 10",
        "MR-VAE, β from 0.1 to 1",
        "MR-VAE, sigmoid decoder gate",
        "β-VAE, monotonic",
        "β-VAE, constant",
        "β-VAE, constant · learning_rate=0.5",
    ]


def test_a_multi_rate_model_is_measured_over_its_range_and_a_plain_one_at_its_own_beta():
    """Twenty β, log-spaced from end to end, where the spec names none, and those of the β-VAEs."""
    multi_rate, plain, _ = planned(small(seeds=[0]))
    betas = multi_rate.evaluation.betas
    assert betas == tuple(sorted({*log_spaced(0.01, 10.0, 20), 0.1, 1.0}))
    assert plain.evaluation.betas == (0.1,)


def test_a_multi_rate_model_is_always_measured_at_the_sweeps_betas_in_its_range():
    """Those of all β-VAEs of the spec, each once, and none that it was not trained for."""
    methods = [
        {"kind": "mr-vae", "beta_range": [0.1, 10]},
        {"kind": "beta-vae", "betas": [0.01, 0.5, 1]},
        {"kind": "beta-vae", "betas": {"from": 1, "to": 100, "count": 3}, "annealing": "cyclic"},
    ]
    multi_rate = planned(small(seeds=[0], methods=methods, evaluation={"betas": [0.1, 1.0000000001, 7]}))[0]
    assert multi_rate.evaluation.betas == (0.1, 0.5, 1.0, 7.0, 10.0)
    assert multi_rate.intermediate_evaluation.evaluation == multi_rate.evaluation


def test_cpus_are_the_threads_of_the_trial_where_nothing_is_said():
    """A trial that trains with three threads holds three CPUs."""
    trial = planned(small(training={"epochs": 3, "threads": 3}))[0]
    assert trial.resources.cpus == 3
    trial = planned(small(training={"epochs": 3, "threads": 3}, resources={"cpus": 1}))[0]
    assert trial.resources.cpus == 1


def test_multi_rate_trials_start_first_and_then_the_longest():
    """Ties keep the order of the plan."""
    methods = [*reversed(small()["methods"]), {"kind": "beta-vae", "betas": [5, 6]}]
    found = planned(small(seeds=[0], methods=methods))
    short, long, multi_rate, *ties = found
    order = launch_order(found, {short.trial_id: 1.0, long.trial_id: 9.0})
    assert order == [multi_rate, long, short, *ties]


def test_a_large_grid_is_planned_whole():
    """Ten thousand trials, none lost and none twice."""
    content = small(
        grid={"training.batch_size": list(range(1, 51)), "architecture.latent_units": list(range(1, 51))},
        methods=[{"kind": "beta-vae", "betas": [0.1, 1]}],
    )
    found = planned(content)
    assert len({item.trial_id for item in found}) == len(found) == 10_000


def test_planning_imports_nothing_heavy():
    """A plan must not pay seconds for torch, or for anything else that only training or reports need."""
    code = (
        "import sys; from orchestrator.spec.file import read_spec; from orchestrator.planning.plan import plan; "
        "import orchestrator.planning.estimate; plan(read_spec(sys.argv[1])); "
        "heavy = {'torch', 'torchvision', 'ray', 'mlflow', 'pandas', 'sklearn', 'scipy', 'plotly'}; "
        "print(*heavy & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(RECIPES / "quickstart.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
