"""Every recipe plans at each of its scales; `make recipes` runs each to its report at the smallest.

That takes some twenty minutes on two cores, so `make test-all` runs one of them and leaves the others out.
"""

import os
import re
from pathlib import Path

import pytest
import yaml

from command_line import CommandLine
from orchestrator.planning.plan import plan
from orchestrator.spec.file import read_spec

RECIPES = Path(__file__).parents[2] / "recipes"
PATHS = sorted(RECIPES.glob("*.yaml"))
SCALED = [path.stem for path in PATHS if "\nscale:" in path.read_text()]
OFTEN = ("figure5-yahoo-lstm",)
"""Run by `make test-all` too: it has a selection, text, and a scale that changes most."""
RUN = SCALED if os.environ.get("MRVAE_ALL_RECIPES") else OFTEN
TRIALS = {
    "ablation-gates": 39,
    "cifar10-jpeg-short": 3,
    "figure1": 14 + 93,
    "figure4-linear": 33,
    "figure5-yahoo-lstm": 5 + 63,
    "figure6-celeba64-resnet": 33,
    "figure6-omniglot-resnet": 33,
    "figure7-celeba64-resnet": 11,
    "figure7-svhn-resnet": 11,
    "figure8-dsprites-tcvae": 3 + 24,
    "figure8-sample-range": 18,
    "mnist-short": 4,
    "omniglot-npz-short": 3,
    "quickstart": 27,
    "yahoo-lines-short": 3,
}
"""What the figures of the paper have: methods and β × seeds, and what chooses a learning rate."""
SELECTING = ("cifar10-conv", "cifar10-resnet", "svhn-conv", "celeba64-conv")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_recipes_have_the_trials_of_their_figure(path):
    planned = plan(read_spec(path))
    # Figure 5: an MR-VAE and ten β for each of two annealings, three seeds each.
    selecting = 7 if path.stem.removeprefix("figure5-") in SELECTING else 0
    expected = TRIALS.get(path.stem, 3 * (1 + 10 + 10) + selecting)
    assert len(planned.trials) + len(planned.waiting) == expected
    assert planned.name == path.stem


@pytest.mark.parametrize("name", SCALED)
def test_the_smallest_scale_needs_no_data_and_no_gpu(name):
    """It is a sweep of its own, of few trials on one core each."""
    planned = plan(read_spec(RECIPES / f"{name}.yaml", scale="smoke"))
    trials = [*planned.trials, *planned.waiting]
    assert planned.name == f"{name}-smoke"
    assert len(trials) <= 10
    assert all(trial.resources.gpus == 0 and not trial.trial.dataset.locate(Path()) for trial in trials)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_recipe_says_how_it_is_run(path):
    """The command in its head is the one that runs it."""
    head = path.read_text().split("\nname:")[0]
    assert re.search(rf"mrvae-orch submit recipes/{path.name}\b", head)


def test_paper_recipes_have_published_learning_rates():
    """Of the authors' job scripts: β-VAE and MR-VAE, for each data set and network; none where it is not known."""
    published = {
        "mnist-conv": (3e-5, 1e-4),
        "mnist-resnet": (3e-4, 1e-3),
        "omniglot-conv": (1e-3, 1e-2),
        "omniglot-resnet": (1e-3, 1e-3),
        "cifar10-conv": (1e-3, None),
        "cifar10-resnet": (1e-3, None),
        "svhn-conv": (3e-4, None),
        "svhn-resnet": (1e-4, 1e-3),
        "celeba64-conv": (1e-4, None),
        "celeba64-resnet": (3e-4, 1e-3),
    }
    for name, (plain, multi_rate) in published.items():
        content = yaml.safe_load((RECIPES / f"figure5-{name}.yaml").read_text())
        rates = {
            (method["kind"], float(method.get("training", {}).get("learning_rate", 0))) for method in content["methods"]
        }
        assert rates == {("beta-vae", plain), ("mr-vae", multi_rate or 0)}, name
        assert ("selection" in content) == (multi_rate is None), name


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_the_smallest_scale_runs_through_to_a_report(tmp_path, submit_here, name):
    """Exit code 0, the comparison made, and the report says what was scaled."""
    command_line = CommandLine(tmp_path)
    result = submit_here(command_line, str(RECIPES / f"{name}.yaml"), "--scale", "smoke")
    assert result.code == 0, result.out + result.err
    assert "Scaled by 'smoke':" in result.out
    report = (command_line.store / f"sweeps/{name}-smoke/report/report.md").read_text()
    assert "At scale “smoke” only" in report
    assert "failed" not in report.split("## What is missing")[0]
