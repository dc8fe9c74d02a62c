"""A sweep whose data has changed, or that meets other numerics: no results are mixed, and none is lost."""

import io
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from command_line import CommandLine
from workers.store.store import Store

SPEC = """\
name: own
dataset: {name: image-npz, train_file: own.npz, test_file: own.npz, train_key: a, test_key: b, layout: NHW,
          shape: [1, 8, 8], train_examples: 64, test_examples: 32, binarise: threshold}
architecture: {name: mlp, hidden: [8], latent_units: 2}
methods: [{kind: beta-vae, betas: [0.5, 1]}]
training: {epochs: 1, batch_size: 32, learning_rate: 1e-3}
"""
LATER_RELEASE = "import workers.numerics\nworkers.numerics.NUMERICS = 2\n"


def write_data(command_line, seed):
    random = np.random.default_rng(seed)
    (command_line.folder / "data").mkdir(exist_ok=True)
    arrays = {key: random.integers(0, 256, (rows, 8, 8), dtype=np.uint8) for key, rows in (("a", 64), ("b", 32))}
    np.savez(command_line.folder / "data" / "own.npz", **arrays)


def reported_trials(command_line, sweep="own"):
    """Return the ids of the trials in the sweep's report."""
    content = Store(command_line.store).sweep(sweep).read("report/points.parquet")
    return set(pq.read_table(io.BytesIO(content), columns=["trial_id"]).column("trial_id").to_pylist())


@pytest.fixture(scope="module")
def finished(tmp_path_factory, submit_here):
    """A finished sweep on the user's own file."""
    command_line = CommandLine(tmp_path_factory.mktemp("own"))
    write_data(command_line, seed=1)
    command_line.write_spec(SPEC)
    done = submit_here(command_line, "spec.yaml")
    assert done.code == 0, done.err + done.out
    return command_line


@pytest.fixture
def own(finished, tmp_path):
    """A copy of it, with its data."""
    return CommandLine(shutil.copytree(finished.folder, tmp_path / "own"))


def test_results_on_other_data_are_neither_mixed_nor_lost(own, submit_here):
    """Other bytes at the same path are other data: for submit, evaluate and plan, in one message each."""
    before = reported_trials(own)
    write_data(own, seed=2)
    refused = submit_here(own, "spec.yaml", "--set", "seeds=[0,1]")
    assert refused.code == 2
    assert "2 trained trials cannot be used, because the content of the files of 'image-npz' has changed" in refused.err
    assert "--retrain" in refused.err
    evaluated = own.ask("evaluate", "own", "--metrics", "psnr")
    assert (evaluated.code, "cannot be evaluated" in evaluated.err) == (2, True)
    assert "submit needs --retrain" in own.ask("plan", "spec.yaml").out
    assert own.ask("status", "own", "--json").json["counts"] == {"done": 2}
    assert reported_trials(own) == before

    again = submit_here(own, "spec.yaml", "--retrain")
    assert again.code == 0, again.err
    assert "they and their report are now in sweep own.1" in again.out
    assert reported_trials(own).isdisjoint(before)
    assert reported_trials(own, "own.1") == before
    assert own.ask("report", "own.1").code == 0
    assert reported_trials(own, "own.1") == before


def test_the_content_of_the_data_is_kept_with_the_results(own):
    """In each trial's settings and manifest, and in the report."""
    for trial_id in reported_trials(own):
        folder = Store(own.store).trial(trial_id)
        settings, provenance = folder.read_json("trial.json"), folder.manifest().provenance
        assert len(settings["dataset"]["train_sha256"]) == 64
        assert provenance["data train sha256"] == settings["dataset"]["train_sha256"]
    page = Store(own.store).sweep("own").read("report/report.html").decode()
    assert provenance["data train sha256"][:12] in page


def test_without_its_data_a_finished_sweep_is_still_finished(own, submit_here):
    """What it was trained on is remembered, and nothing is left to run."""
    (own.folder / "data" / "own.npz").unlink()
    again = submit_here(own, "spec.yaml")
    assert (again.code, "Nothing to run: 2 done" in again.out) == (0, True), again.err


def test_a_file_that_changes_during_the_sweep_trains_nothing_else(own, submit_here):
    """A worker refuses the file with both hashes, and the driver names the failed trial."""
    path = own.folder / "data" / "own.npz"
    plan = own.ask("plan", "spec.yaml", "--json", "--set", "seeds=[7]").json["trials"]
    declared = plan[0]["parameters"]["dataset"]["train_sha256"]
    write_data(own, seed=2)
    spec = SPEC.replace("binarise", f"train_sha256: {declared}, test_sha256: {declared}, binarise")
    own.write_spec(spec.replace("name: own\n", "name: other\n"), "other.yaml")
    failed = submit_here(own, "other.yaml", "--set", "seeds=[7]")
    assert failed.code == 1
    status = own.ask("status", "other", "--json").json
    assert status["counts"] == {"failed": 2}
    assert f"{path}: has another content than the one to train or evaluate on" in json.dumps(status)


def test_a_report_is_not_replaced_by_one_that_knows_less(own, submit_here):
    """Where a trial's files are gone, the report that has its results stays, until they are there again."""
    before = reported_trials(own)
    gone = min(before)
    shutil.rmtree(own.trial_folder(gone))
    refused = own.ask("report", "own")
    assert refused.code == 1
    assert f"it has the results of 1 trial that cannot be read now ({gone[:8]})" in refused.out
    assert reported_trials(own) == before
    assert own.ask("report", "own", "--out", "elsewhere").code == 0
    restored = submit_here(own, "spec.yaml")
    assert (restored.code, "Report:" in restored.out) == (0, True), restored.err
    assert reported_trials(own) == before


@pytest.mark.slow
def test_a_release_with_other_numerics_reads_the_results_and_does_not_replace_them(own):
    """They are done, reported with a remark, and trained again only if the user says so."""
    (own.folder / "sitecustomize.py").write_text(LATER_RELEASE)
    later = {"PYTHONPATH": str(own.folder)}
    before = reported_trials(own)
    assert json.loads(own.run("status", "own", "--json", **later).out)["counts"] == {"done": 2}
    assert own.run("report", "own", **later).code == 0
    assert reported_trials(own) == before
    page = (own.store / "sweeps" / "own" / "report" / "report.html").read_text()
    assert "The results are of numerics version 1. This release has version 2" in page
    for command in (("submit", "spec.yaml"), ("evaluate", "own", "--metrics", "psnr")):
        refused = own.run(*command, **later)
        assert refused.code == 2
        assert "they are of numerics version 1, and this release trains with version 2" in refused.err
    assert reported_trials(own) == before
    again = own.run("submit", "spec.yaml", "--retrain", **later)
    assert again.code == 0, again.err
    assert reported_trials(own).isdisjoint(before)
    assert reported_trials(own, "own.1") == before
