"""`record` and `check` on sweeps that were really trained, and the published references beside their recipes."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from click.testing import CliRunner

from evaluation.references.matching import is_about
from evaluation.references.reference import from_bytes, packaged_names, read_packaged
from orchestrator.cli.main import cli
from orchestrator.planning.labels import flatten
from orchestrator.planning.plan import SWEEP as OF_SWEEP
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from webhook import webhook
from workers.store.store import Store

RECIPES = Path(__file__).parents[3] / "recipes"
SWEEP = """\
name: tiny
dataset: {name: digits, train_limit: 256}
architecture: {name: linear, latent_units: 8}
objective: {likelihood: squared-error}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.03, 1]}
training: {epochs: 2, batch_size: 8, learning_rate: 2e-2}
seeds: [0, 1]
evaluation: {betas: [0.03, 0.2, 1], pictures: 0}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory, train):
    """A sweep, the same with other seeds, and one of its methods at a rate that learns next to nothing."""
    torch.set_num_threads(1)
    store = Store(tmp_path_factory.mktemp("trained") / "runs")
    train(store, SWEEP)
    train(store, SWEEP.replace("tiny", "others").replace("[0, 1]", "[2, 3]"))
    worse = SWEEP.replace("tiny", "worse").replace("2e-2", "1e-4")
    train(store, worse.replace("  - {kind: beta-vae, betas: [0.03, 1]}\n", ""))
    return store


@pytest.fixture(scope="module")
def first(store):
    """The file of the reference `first`, recorded from the sweep `tiny`."""
    result = CliRunner().invoke(
        cli, ["record", "tiny", "--as", "first", "--tolerance", "2", "--store", str(store.root)]
    )
    assert result.exit_code == 0, result.output
    return store.root / "references" / "first.json", result.output


def test_a_recorded_sweep_has_its_curves_and_what_they_are_about(store, first):
    path, _ = first
    reference = from_bytes(path.read_bytes(), "first")
    assert (reference.kind, reference.source, reference.commit) == ("recorded", "sweep tiny", "abc")
    assert [(curve.name, [seed.seed for seed in curve.seeds]) for curve in reference.curves] == [
        ("MR-VAE", [0, 1]),
        ("β-VAE, constant", [0, 1]),
    ]
    assert [len(seed.points) for curve in reference.curves for seed in curve.seeds] == [3, 3, 2, 2]
    assert (reference.distortion_unit, reference.split) == ("sse", "test")
    assert reference.settings["dataset.name"] == "digits"
    assert reference.curves[0].settings["method.kind"] == "mr-vae"
    assert reference.trial_ids == {each.trial_id for each in plan(spec_from_text(SWEEP, "")).trials}


def test_recording_says_how_the_seeds_spread(first):
    path, output = first
    lines = output.splitlines()
    assert lines[0].startswith("MR-VAE: mean distortion ")
    assert "of 2 seeds; a sweep of as many is known to ±" in lines[0]
    assert lines[-2:] == ["Tolerance: ±2 (as given when it was recorded)", f"Reference: {path}"]


def test_a_sweep_agrees_with_itself(invoke, first):
    """Every distance is 0, and the reader hears that these are the same trials."""
    result = invoke("check", "tiny", "--against", "first", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["agrees"] is True
    assert [(check["name"], check["outcome"], check["distance"]["value"]) for check in found["checks"]] == [
        ("MR-VAE", "passed", 0.0),
        ("β-VAE, constant", "passed", 0.0),
        ("MR-VAE less β-VAE, constant", "passed", 0.0),
    ]
    assert found["notes"] == ["6 trials of the sweep belong to the reference: these agree by definition"]


def test_other_seeds_agree(invoke, store, first):
    """Other numbers, within the tolerance; the file has one test case a check."""
    result = invoke("check", "others", "--against", "first")
    assert result.exit_code == 0, result.output
    assert "3 passed." in result.output
    assert result.output.count("(90 % interval ") == 3
    assert "belong to the reference" not in result.output
    path = store.root / "sweeps/others/checks/first.xml"
    assert result.output.splitlines()[-1] == f"JUnit XML: {path}"
    suite = ET.fromstring(path.read_bytes())  # noqa: S314 (written by the program under test)
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "others against first",
        "tests": "3",
        "failures": "0",
        "errors": "0",
        "skipped": "0",
    }


def test_less_training_does_not_agree(invoke, first, tmp_path):
    """Exit code 1, what failed and by how much, what was trained differently and what was not compared."""
    result = invoke("check", "worse", "--against", "first", "--junit", tmp_path / "new/check.xml")
    assert result.exit_code == 1
    assert "FAILED    MR-VAE\n" in result.output
    assert "note: not in the sweep: β-VAE, constant" in result.output
    assert (
        "note: trained differently: training.learning_rate is 0.0001, in the reference 0.02 (MR-VAE)" in result.output
    )
    assert "1 failed." in result.output
    suite = ET.parse(tmp_path / "new/check.xml").getroot()  # noqa: S314 (as above)
    assert suite.find("testcase/failure").get("type") == "failed"


def test_a_broken_gate_is_told_to_whom_the_spec_names(invoke, store, first, monkeypatch):
    """A check that fails is news; one that passes is none, and what cannot be told changes no exit code."""
    with webhook(200) as server:
        spec = store.sweep("worse").path() / "spec.yaml"
        before = spec.read_text()
        monkeypatch.setenv("MRVAE_NOTIFY_TEAM", server.at())
        spec.write_text(f"{before}notify: {{url_from: MRVAE_NOTIFY_TEAM, on: [gate-broken]}}\n")
        assert invoke("check", "worse", "--against", "first").exit_code == 1
        ((_, _, content),) = server.received
        told = json.loads(content)
        assert (told["sweep"], told["event"], told["counts"]) == ("worse", "gate-broken", {"failed": 1})
        assert told["message"] == "worse disagrees with first: 1 failed"
        spec.write_text(f"{before}notify: {{url_from: MRVAE_NOTIFY_NOBODY}}\n")
        result = invoke("check", "worse", "--against", "first")
        assert result.exit_code == 1
        assert "the variable MRVAE_NOTIFY_NOBODY is not set" in result.output
        passing = store.sweep("tiny").path() / "spec.yaml"
        passing.write_text(f"{passing.read_text()}notify: {{url_from: MRVAE_NOTIFY_TEAM}}\n")
        assert invoke("check", "tiny", "--against", "first").exit_code == 0
        assert len(server.received) == 1
        spec.write_text(before)


def test_a_reference_is_found_by_its_file(invoke, first, tmp_path):
    path, _ = first
    copy = tmp_path / "copy.json"
    copy.write_bytes(path.read_bytes())
    assert invoke("check", "tiny", "--against", copy).exit_code == 0
    assert invoke("check", "tiny", "--against", tmp_path / "other.json").output == (
        f"{tmp_path}/other.json: no such file; `mrvae-orch check --list` shows the references that have names\n"
    )


def test_recording_elsewhere_takes_the_default_tolerance(invoke, tmp_path):
    """3 % of the mean distortion over the rates that all curves share, to two digits."""
    out = tmp_path / "there" / "tiny.json"
    result = invoke("record", "tiny", "--as", "second", "--out", out)
    assert result.exit_code == 0, result.output
    reference = from_bytes(out.read_bytes(), "second")
    assert "(3 % of the mean distortion" in result.output
    assert 0.1 < reference.tolerance.curve == reference.tolerance.difference < 0.4


def test_a_reference_is_replaced_only_if_asked(invoke, first, store):
    path, _ = first
    before = path.read_bytes()
    refused = invoke("record", "others", "--as", "first")
    assert refused.exit_code == 2
    assert refused.output == f"{path} is there already; choose another name, or replace it with --replace\n"
    assert path.read_bytes() == before
    try:
        assert invoke("record", "others", "--as", "first", "--replace").exit_code == 0
        assert b"sweep others" in path.read_bytes()
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", ["../evil", "a/b", "/etc/x", "..", "", "a.json", "ü"])
def test_a_name_cannot_leave_the_store(invoke, store, name):
    before = sorted(store.root.rglob("*"))
    result = invoke("record", "tiny", "--as", name)
    assert result.exit_code == 2
    assert result.output.startswith(f"{name!r} is not an allowed name of a reference; use 1 to 80 letters")
    assert sorted(store.root.rglob("*")) == before


def test_a_published_name_is_taken(invoke):
    result = invoke("record", "tiny", "--as", "omniglot-conv")
    assert result.exit_code == 2
    assert result.output == "'omniglot-conv' is the name of a published reference; choose another\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "tiny"], "name a sweep and a reference"),
        (["check"], "name a sweep and a reference"),
        (["check", "--list", "tiny"], "--list lists every reference"),
        (["check", "tiny", "--against", "omniglot-resent"], "did you mean 'omniglot-resnet'?"),
        (["check", "tiyn", "--against", "first"], "did you mean 'tiny'?"),
        (["check", "tiny", "--against", "omniglot-conv"], "dataset.name is digits instead of omniglot"),
        (["record", "tiny", "--as", "x", "--tolerance", "-1"], "the tolerance is -1; it must be a finite number above"),
        (["record", "tiny", "--as", "x", "--tolerance", "nan"], "the tolerance is nan; it must be a finite number"),
        (["record", "tiny", "--as", "x", "--out", "/proc/x/y.json"], "/proc/x/y.json cannot be written: "),
        (["record", "tiny"], "Missing option '--as'"),
    ],
)
def test_what_cannot_be_done_is_one_message(invoke, first, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_an_unfinished_sweep_is_not_recorded(invoke, store):
    save_sweep(store, plan(spec_from_text(SWEEP.replace("tiny", "more").replace("[0, 1]", "[0, 9]"), "")), now=0.0)
    result = invoke("record", "more", "--as", "more")
    assert result.exit_code == 2
    assert result.output == "more cannot be recorded: 3 of 6 trials are not done; submit the sweep again first\n"


def test_an_unfinished_sweep_is_undecided(invoke, store, first):
    save_sweep(store, plan(spec_from_text(SWEEP.replace("tiny", "half").replace("[0, 1]", "[0, 9]"), "")), now=0.0)
    result = invoke("check", "half", "--against", "first")
    assert result.exit_code == 1
    assert "UNDECIDED MR-VAE\n          MR-VAE, seed 9: 0 of 1 trial done\n" in result.output
    assert "3 undecided." in result.output


def test_the_list_has_own_and_published_references(invoke, first, store):
    """A damaged file stands in the list with its reason, and hides no other."""
    damaged = store.root / "references" / "broken.json"
    damaged.write_text("{}")
    try:
        result = invoke("check", "--list")
        refused = invoke("check", "tiny", "--against", "broken")
    finally:
        damaged.unlink()
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.output.splitlines()[1:] if not line.startswith(" ")]
    assert names == ["broken", "first", *packaged_names()]
    assert "the file has no 'format'" in result.output
    assert refused.exit_code == 2
    assert refused.output == (
        f"{damaged}: not a reference: the file has no 'format'; record it again, or correct the file\n"
    )


@pytest.mark.parametrize("name", packaged_names())
def test_every_published_curve_has_its_recipe(name):
    """The recipe of the same figure trains what the reference is about, under the published settings."""
    reference = read_packaged(name)
    path = RECIPES / f"figure5-{name}.yaml"
    planned = plan(spec_from_text(path.read_text(), str(path)))
    trials = [each for each in (*planned.trials, *planned.waiting) if each.stage == OF_SWEEP]
    examples = {each.trial.dataset.test_examples for each in trials}
    assert examples == {reference.examples}
    settings = {each.series: flatten(each.trial.to_json()) for each in trials}
    matches = {
        curve.name: [name for name, here in settings.items() if is_about(here, reference.settings_of(curve))]
        for curve in reference.curves
    }
    # Cyclic annealing is in Figure 1 only, whose recipe chooses its learning rates anew.
    assert {curve: len(found) for curve, found in matches.items()} == {
        curve.name: 0 if curve.name == "β-VAE, cyclic" else 1 for curve in reference.curves
    }
    for curve in reference.curves:
        for series in matches[curve.name]:
            there = reference.settings_of(curve)
            assert {key: settings[series][key] for key in there} == there
