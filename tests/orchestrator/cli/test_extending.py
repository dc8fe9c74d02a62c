"""docs/extending.md as a user follows it: its code in a copy of this repository, and as an installed package.

The files and commands are those of the page, taken from it when the tests run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from command_line import SPEC, CommandLine, Finished
from models.architecture import Architecture
from models.architectures.registry import ARCHITECTURES
from models.plugins import Registry
from orchestrator.spec.checks import validated
from workers.data.dataset import Dataset
from workers.data.registry import DATASETS

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs/extending.md").read_text()
FILES = dict(re.findall(r"^\*\*`([^`\n]+)`\*\*\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
"""Each file that the page shows, by its name."""
COMMANDS = re.search(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1].splitlines()
BARS, SMALL_CONV = "workers/data/bars.py", "models/architectures/small_conv.py"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class CommandLineWith(CommandLine):
    """The command line where a folder of packages comes before what is installed."""

    def __init__(self, folder: Path, packages: Path) -> None:
        super().__init__(folder)
        self.packages = packages

    def start(self, *arguments: str) -> subprocess.Popen:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(self.packages))
            return super().start(*arguments)

    def ask(self, *arguments: str) -> Finished:
        # This process does not know the packages.
        return self.run(*arguments)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which pip has installed the page's package."""
    source, target = tmp_path_factory.mktemp("bars-for-mrvae"), tmp_path_factory.mktemp("site")
    files = {
        "pyproject.toml": FILES["pyproject.toml"],
        "bars_for_mrvae/__init__.py": "",
        "bars_for_mrvae/bars.py": FILES[BARS],
        "bars_for_mrvae/small_conv.py": FILES[SMALL_CONV],
    }
    write(source, files)
    # No network: what builds it is here already. Into a folder of its own, to leave this environment as it is.
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", target, source], check=True)
    return target


@pytest.fixture(scope="module")
def with_package(site, tmp_path_factory):
    """The command line where the package is installed, with the page's spec in its folder."""
    command_line = CommandLineWith(tmp_path_factory.mktemp("with-package"), site)
    command_line.write_spec(FILES["bars.yaml"], "bars.yaml")
    return command_line


@pytest.fixture(scope="module")
def run_as_shown(with_package):
    """What each `mrvae-orch` command of the page gave, in its order."""
    shown = [line.split()[1:] for line in COMMANDS if line.startswith("mrvae-orch ")]
    return {" ".join(arguments): with_package.run(*arguments) for arguments in shown}


@pytest.mark.slow
def test_the_commands_of_the_page_end_well(run_as_shown):
    """The data is checked, the plan shown, and the sweep trained and reported."""
    assert {command: (run.code, run.err) for command, run in run_as_shown.items()} == dict.fromkeys(
        ("data check bars", "plan bars.yaml", "submit bars.yaml"), (0, "")
    )
    assert "bars train: 2,000 examples of (1, 8, 8)" in run_as_shown["data check bars"].out
    assert "3 trials: 3 pending." in run_as_shown["plan bars.yaml"].out
    assert "done 3/3" in run_as_shown["submit bars.yaml"].out


@pytest.fixture(scope="module")
def trained(run_as_shown, with_package):
    """The folders of the trials that the page's submit has trained."""
    return list((with_package.store / "trials").iterdir())


@pytest.mark.slow
def test_trials_keep_the_version_of_the_package(trained):
    """It is in the manifest of each, and the options alone are identity."""
    assert len(trained) == 3
    for folder in trained:
        manifest, identity = (json.loads((folder / name).read_text()) for name in ("manifest.json", "trial.json"))
        assert manifest["provenance"]["plug-in bars-for-mrvae"] == "1.0"
        assert identity["architecture"] == {"name": "small-conv", "latent_units": 16}
        assert identity["dataset"] == {
            "name": "bars",
            "train_limit": 0,
            "binarise": "threshold",
            "probability": 0.2,
        }


def test_editors_know_the_options_of_a_plugin(with_package):
    definitions = with_package.run("schema").json["$defs"]
    bars = definitions["BarsSection"]["properties"]
    assert bars["probability"]["description"] == "The probability that a row or column is white."
    # Declared again as a plain text, which changes the default alone.
    images = definitions["CIFAR10Section"]["properties"]
    assert bars["binarise"] == {**images["binarise"], "default": "threshold"}
    assert definitions["SmallConvSection"]["properties"]["latent_units"]["default"] == 16


def test_an_option_out_of_range_is_refused_at_its_place(with_package):
    refused = with_package.run("plan", "bars.yaml", "--set", "dataset.probability=2")
    assert refused.code == 2
    assert "--set dataset.probability=2" in refused.err
    assert "probability is 2.0; it must be between 0 and 1" in refused.err


def test_planning_with_a_plugin_does_not_import_torch(site):
    program = (
        "import sys; from models.architectures.registry import ARCHITECTURES\n"
        "from workers.data.registry import DATASETS\n"
        "import orchestrator.spec.model\n"
        "assert ARCHITECTURES['small-conv']().multiply_adds(DATASETS['bars']().shape) > 0\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(site)})


@pytest.fixture(scope="module")
def in_the_repository(tmp_path_factory):
    """The command line of a copy of this repository, to which the page's two files and lines were added."""
    copy = tmp_path_factory.mktemp("repository")
    for room in ("models", "evaluation", "workers", "orchestrator"):
        shutil.copytree(REPOSITORY / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    write(copy, {name: FILES[name] for name in (BARS, SMALL_CONV)})
    for registry, beside, added in (
        ("workers/data/registry.py", "Digits", "Bars"),
        ("models/architectures/registry.py", "MLP", "SmallConv"),
    ):
        text = (copy / registry).read_text()
        imported = re.sub(r"^(?=from workers|from models)", FILES[registry], text, count=1, flags=re.MULTILINE)
        listed = re.sub(rf"\b{beside},", f"{beside}, {added},", imported, count=1)
        (copy / registry).write_text(listed)
    command_line = CommandLineWith(copy, copy)
    command_line.write_spec(FILES["bars.yaml"], "bars.yaml")
    return command_line


@pytest.fixture(scope="module")
def planned_in_the_repository(in_the_repository):
    """The ids of the page's trials with its files as they are."""
    return {trial["trial_id"] for trial in in_the_repository.plan("bars.yaml")}


@pytest.mark.slow
def test_in_the_repository_the_same_files_give_the_same_trials(planned_in_the_repository, trained):
    """Where a class lives is not identity, so that one may move into the repository, or out of it."""
    assert planned_in_the_repository == {folder.name for folder in trained}


def test_data_of_a_file_in_the_repository_can_be_checked(in_the_repository):
    checked = in_the_repository.run("data", "check", "bars")
    assert (checked.code, checked.err) == (0, "")
    assert "bars test: 500 examples of (1, 8, 8)" in checked.out


METRIC = "posterior_deviation"
FILLED = f"""
from pathlib import Path
from evaluation.records import Point, from_parquet, to_parquet
from evaluation.report.content.metrics import metric_definitions
from models.architectures.registry import configure
from workers.data.digits import Digits
from workers.measuring.points import evaluate_points
from workers.running.metric_names import point_metrics
from workers.trial import BetaVAE, Evaluation, EvaluationOptions, Objective, Training, Trial
import torch
trial = Trial(Digits(train_limit=64), configure("mlp"), Objective(), BetaVAE(1.0), Training(epochs=1), seed=0)
data = trial.dataset.load(Path()).test.first(20)
model = trial.architecture.build(trial.dataset.shape, "bernoulli", None)
points = evaluate_points(trial, model, data, Evaluation((1.0,), metrics=("{METRIC}",)), sweep="s",
                         device=torch.device("cpu"), should_stop=lambda: False)
(point,) = from_parquet(Point, to_parquet(Point, points), "points")
assert 0.5 < point.metrics["{METRIC}"] < 2
assert point_metrics(point, EvaluationOptions())[1]["test/{METRIC}"] == point.metrics["{METRIC}"]
((heading, meaning),) = metric_definitions([point])
assert (heading, meaning) == ("posterior deviation", "Mean standard deviation of q(z|x): 1 where nothing is encoded.")
"""


def test_the_pages_metric_is_in_specs_files_mlflow_and_report(tmp_path):
    """With its file, its entry in the catalogue, its computation and the line beside it, and nothing else."""
    for room in ("models", "evaluation", "workers", "orchestrator"):
        shutil.copytree(REPOSITORY / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    mathematics, catalogue, computation = (
        f"evaluation/metrics/{METRIC}.py",
        "evaluation/metrics/catalogue.py",
        "workers/measuring/metrics.py",
    )
    write(tmp_path, {mathematics: FILES[mathematics]})
    (line,) = re.findall(rf'`("{METRIC}": \w+,)`', PAGE)
    for name, place, added in (
        (
            catalogue,
            "CATALOGUE: Mapping[str, Metric] = {\n",
            "CATALOGUE: Mapping[str, Metric] = {\n" + FILES[catalogue],
        ),
        (computation, "POINT_METRICS:", FILES[computation] + "\n\nPOINT_METRICS:"),
        (computation, '    "psnr":', f'    {line}\n    "psnr":'),
    ):
        text = (tmp_path / name).read_text()
        assert text.count(place) == 1
        write(tmp_path, {name: text.replace(place, added)})
    subprocess.run([sys.executable, "-c", FILLED], check=True, cwd=tmp_path)
    command_line = CommandLineWith(tmp_path, tmp_path)
    spec = command_line.write_spec(SPEC.replace("evaluation: {", f"evaluation: {{metrics: [{METRIC}], "))
    assert command_line.run("plan", spec).code == 0


def test_an_option_of_one_value_makes_other_trials(in_the_repository, planned_in_the_repository):
    """`revision`, as the page has it, renews every id, and no spec can ask for an earlier one."""
    (option,) = re.findall(r"revision: Literal\[2\] = 2", PAGE)
    revised = FILES[BARS].replace("    probability:", f"    {option}\n    probability:")
    write(
        in_the_repository.folder,
        {BARS: revised.replace("TYPE_CHECKING, Annotated\n", "TYPE_CHECKING, Annotated, Literal\n", 1)},
    )
    after = {trial["trial_id"] for trial in in_the_repository.plan("bars.yaml")}
    assert len(after) == 3
    assert not planned_in_the_repository & after
    refused = in_the_repository.run("plan", "bars.yaml", "--set", "dataset.revision=1")
    assert refused.code == 2
    assert "dataset.revision" in refused.err


@pytest.fixture(scope="module")
def with_bad_packages(site, tmp_path_factory):
    """The command line where beside the good package one does not import and one has a name of ours."""
    packages = tmp_path_factory.mktemp("packages")
    shutil.copytree(site, packages, dirs_exist_ok=True)
    for package, entry in (("torn", "torn = torn:Torn"), ("twin", "mnist = twin:Twin")):
        about = f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.5\n"
        info = {"METADATA": about, "entry_points.txt": f"[mrvae_orch.datasets]\n{entry}\n"}
        write(packages / f"{package}-0.5.dist-info", info)
        write(packages, {f"{package}.py": "import nowhere\n"})
    return CommandLineWith(tmp_path_factory.mktemp("with-bad-packages"), packages)


TORN = "dataset 'torn' cannot be used: torn 0.5 names torn:Torn, but importing that raised ModuleNotFoundError"
TWIN = "dataset 'mnist' cannot be used: mrvae-orch itself and twin 0.5 each define it"


def test_a_bad_package_leaves_what_does_not_name_it_as_it_was(with_bad_packages):
    """There is a warning of each, one line, on standard error."""
    planned = with_bad_packages.run("plan", with_bad_packages.write_spec(), "--json")
    assert planned.code == 0
    assert len(planned.json["trials"]) == 3
    first, second = planned.err.splitlines()
    assert first.startswith(TWIN)
    assert second.startswith(TORN)


@pytest.mark.parametrize(("name", "reason"), [("torn", TORN), ("mnist", TWIN)])
def test_a_spec_that_names_a_bad_package_says_why(with_bad_packages, name, reason):
    """At its place, in place of the nearest name."""
    text = SPEC.replace("{name: digits, train_limit: 256}", f"{{name: {name}}}")
    refused = with_bad_packages.run("plan", with_bad_packages.write_spec(text))
    assert refused.code == 2
    assert f"spec.yaml:2:17: dataset.name: {reason}" in refused.err


def test_doctor_lists_plugins_and_what_is_wrong_with_them(with_bad_packages):
    doctor = with_bad_packages.run("doctor")
    assert doctor.code == 1
    assert "ok    plug-in architecture small-conv: bars-for-mrvae 1.0" in doctor.out
    assert "ok    plug-in dataset bars: bars-for-mrvae 1.0" in doctor.out
    assert re.findall(r"^wrong plug-in: (.*)$", doctor.out, re.MULTILINE) == doctor.err.splitlines()


def test_built_in_datasets_could_be_plugins(tmp_path, monkeypatch):
    """What is asked of plug-ins is no more than what the classes here have."""
    entries = "\n".join(f"{name} = {each.__module__}:{each.__name__}" for name, each in DATASETS.items())
    about = {"METADATA": "Name: all\nVersion: 1\n", "entry_points.txt": f"[mrvae_orch.datasets]\n{entries}\n"}
    write(tmp_path / "all-1.dist-info", about)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = metadata.entry_points(group="mrvae_orch.datasets")
    registry = Registry("dataset", Dataset, (), required=DATASETS.required, entries=found)
    assert registry == DATASETS


def test_an_architecture_with_an_option_to_be_given_is_not_said_to_fit(monkeypatch):
    """Whether it takes the data cannot be known without that option; the others are still named."""

    @dataclass(frozen=True)
    class Deep(Architecture):
        depth: int
        name = "deep"

    monkeypatch.setitem(ARCHITECTURES, "deep", Deep)
    spec = yaml.safe_load(SPEC.replace("{name: mlp, hidden: [32], latent_units: 4}", "{name: conv}"))
    with pytest.raises(ValidationError, match=r"architectures that take it: .*'mlp'") as refused:
        validated({**spec, "training": {"epochs": 3}})
    assert "'deep'" not in str(refused.value)
