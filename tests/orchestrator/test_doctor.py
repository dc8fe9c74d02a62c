"""What a program is told of this machine, a store and the datasets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orchestrator.doctor import (
    Grade,
    examine_datasets,
    examine_machine,
    examine_store,
    examine_tracking,
)
from workers.store.store import Store


def test_a_healthy_machine_has_nothing_wrong():
    """Each package with its version, the processor, and the GPUs or that there is none."""
    found = {finding.what: finding for finding in examine_machine()}
    assert not [finding for finding in found.values() if finding.grade is Grade.WRONG]
    assert found["torch"].detail.partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["CPU"].detail.endswith(f"{os.cpu_count()} cores")
    assert ("GPU 0" in found) == torch.cuda.is_available()


def test_a_missing_package_is_wrong_and_says_what_to_do(monkeypatch):
    monkeypatch.setattr("orchestrator.doctor.PACKAGES", ("no-such-package",))
    _, missing, *_ = examine_machine()
    assert str(missing) == "no-such-package: not installed; run `make setup`"
    assert missing.grade is Grade.WRONG


@pytest.mark.slow
def test_a_torchvision_that_does_not_fit_torch_is_wrong(tmp_path):
    """Its library does not load, which an import of the two then explains."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (package / "_C.so").write_bytes(b"of another torch")
    program = "from orchestrator.doctor import examine_machine; print(*map(repr, examine_machine()), sep='\\n')"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    (wrong,) = [line for line in ended.stdout.splitlines() if "Grade.WRONG" in line]
    assert "do not load together: operator torchvision::nms does not exist" in wrong
    assert "install them as a pair from one index" in wrong


def test_a_store_is_tried_and_left_as_it_was(tmp_path):
    (found,) = examine_store(Store(tmp_path / "runs"))
    assert (found.what, found.grade) == (f"store {tmp_path / 'runs'}", Grade.GOOD)
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_used_is_wrong(tmp_path):
    (tmp_path / "runs").write_text("")
    (found,) = examine_store(Store(tmp_path / "runs"))
    assert found.grade is Grade.WRONG
    assert "choose another place with --store" in found.detail


def test_datasets_are_said_to_be_there_or_not(tmp_path):
    """One that is not there is nothing wrong."""
    found = {finding.what: finding for finding in examine_datasets(tmp_path)}
    assert found["data digits"].grade is Grade.GOOD
    assert found["data mnist"].grade is Grade.NEUTRAL
    assert str(tmp_path) in found["data mnist"].detail


def test_the_tracking_database_is_named_before_it_is_made(tmp_path):
    (found,) = examine_tracking(Store(tmp_path / "runs"), None)
    assert found.grade is Grade.NEUTRAL
    assert found.detail.startswith(f"sqlite:///{tmp_path}/runs/mlflow.db")
    assert not list(tmp_path.iterdir())
