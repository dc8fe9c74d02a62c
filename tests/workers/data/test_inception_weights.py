"""The weights that fid needs: asked for before anything runs, fetched only on request."""

import pytest
from click.testing import CliRunner

from command_line import SPEC
from orchestrator.cli.main import cli

WITH_FID = SPEC.replace("evaluation: {betas: [0.1, 0.3, 1]}", "evaluation: {betas: [1], metrics: [fid]}")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MRVAE_DATA", raising=False)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def test_a_sweep_with_fid_and_no_weights_is_refused_before_it_runs(invoke, tmp_path):
    """One message with the file, the command and what needs no weights; nothing is written."""
    (tmp_path / "spec.yaml").write_text(WITH_FID)
    refused = invoke("submit", "spec.yaml")
    assert refused.exit_code == 2
    assert "data/inception/weights-inception-2015-12-05-6726825d.pth" in refused.stderr
    assert "mrvae-orch data fetch inception-weights" in refused.stderr
    assert "frechet_classifier" in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_weights_that_cannot_be_fetched_leave_nothing(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", "http://127.0.0.1:9/weights")
    failed = invoke("data", "fetch", "inception-weights")
    assert failed.exit_code == 2
    assert "could not be fetched" in failed.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_weights_that_are_there_are_not_fetched_again(invoke, tmp_path):
    path = tmp_path / "data/inception/weights-inception-2015-12-05-6726825d.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"here")
    done = invoke("data", "fetch", "inception-weights")
    assert (done.exit_code, path.read_bytes()) == (0, b"here")
    assert "already" in done.stdout
