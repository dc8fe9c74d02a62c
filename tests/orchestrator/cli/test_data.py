"""`mrvae-orch data`: list, fetch and check, with files in the published formats and no network."""

import socket
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from torchvision import datasets

from orchestrator.cli import data as command
from orchestrator.cli.main import cli
from workers.data import resident
from workers.data.prepared import prepared_array
from workers.data.published import binary_mnist
from workers.data.published.binary_mnist import BinaryMNIST
from workers.data.registry import DATASETS

IMAGES = ("binary-mnist", "omniglot", "cifar10", "svhn", "celeba64")


class SmallBinaryMNIST(BinaryMNIST):
    """The published sizes replaced by small ones."""

    published: ClassVar = {"train": 4, "validation": 2, "test": 3}


class MappedBinaryMNIST(SmallBinaryMNIST):
    """The same images, prepared."""

    def load(self, root):
        whole = super().load(root)
        parts = {name: getattr(whole, name).pixels.numpy() for name in self.published}
        arrays = {name: prepared_array(root, name, part.shape, lambda p=part: [p]) for name, part in parts.items()}
        return resident.prepare(self, {name: (array, None) for name, array in arrays.items()})


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in an empty folder, on small sets; what the program did not expect is raised, not shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MRVAE_DATA", raising=False)
    monkeypatch.setattr(command, "DATASETS", {**DATASETS, "binary-mnist": SmallBinaryMNIST})

    def run(*arguments):
        return CliRunner().invoke(cli, ["data", *map(str, arguments)])

    return run


@pytest.fixture
def nowhere(monkeypatch):
    """An address at which nothing listens."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def small_files(tmp_path):
    """Binary MNIST's three files in the data folder `data`."""
    folder = tmp_path / "data" / "binary_mnist"
    folder.mkdir(parents=True)
    for name, rows in (("train", 4), ("valid", 2), ("test", 3)):
        np.savetxt(folder / f"binarized_mnist_{name}.amat", np.eye(rows, 784), fmt="%d")
    return folder


def row_of(output, name):
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [name])


def test_list_names_every_dataset_and_says_what_is_here(invoke, small_files):
    """The number of examples and whether the files are there."""
    listed = invoke("list")
    assert listed.exit_code == 0
    assert row_of(listed.output, "cifar10")[1:3] == ["50,000", "no"]
    assert row_of(listed.output, "celeba64")[1:3] == ["162,770", "no"]
    assert row_of(listed.output, "digits")[1:3] == ["1,297", "yes"]
    assert row_of(listed.output, "binary-mnist")[2] == "yes"
    (small_files / "binarized_mnist_test.amat").unlink()
    assert row_of(invoke("list").output, "binary-mnist")[2] == "no"


@pytest.mark.parametrize("name", ["mnist", *IMAGES])
def test_check_says_what_is_missing_and_how_to_get_it(invoke, tmp_path, name):
    """One line, exit code 2, nothing made."""
    missing = invoke("check", name, "--data", tmp_path / "nowhere")
    assert missing.exit_code == 2
    assert f"looked for {tmp_path / 'nowhere'}" in missing.output
    assert f"mrvae-orch data fetch {name} --data {tmp_path / 'nowhere'}" in missing.output
    assert len(missing.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_check_says_counts_shape_size_and_place(invoke, small_files):
    """Each split, and where its files are."""
    checked = invoke("check", "binary-mnist")
    assert checked.exit_code == 0
    assert checked.output.splitlines() == [
        "binary-mnist train: 4 examples of (1, 28, 28), 0.0 MB in memory",
        "binary-mnist validation: 2 examples of (1, 28, 28), 0.0 MB in memory",
        "binary-mnist test: 3 examples of (1, 28, 28), 0.0 MB in memory",
        "binary-mnist is read from data/binary_mnist",
    ]


def test_check_says_what_stays_on_disk(invoke, small_files, monkeypatch):
    """A mapped split is told from one in memory."""
    monkeypatch.setattr(command, "DATASETS", {"binary-mnist": MappedBinaryMNIST})
    monkeypatch.setattr(resident, "LARGEST_RESIDENT", 3 * 784)
    lines = invoke("check", "binary-mnist").output.splitlines()
    assert lines[0] == "binary-mnist train: 4 examples of (1, 28, 28), 0.0 MB mapped from data/.prepared"
    assert lines[2] == "binary-mnist test: 3 examples of (1, 28, 28), 0.0 MB in memory"


def test_check_of_a_damaged_file_is_one_line(invoke, small_files):
    """The file, the row and the command that mends it."""
    path = small_files / "binarized_mnist_test.amat"
    path.write_text(path.read_text()[:-100])
    checked = invoke("check", "binary-mnist")
    assert checked.exit_code == 2
    assert "data/binary_mnist/binarized_mnist_test.amat: row 2 has " in checked.output
    assert "`mrvae-orch data fetch binary-mnist --again`" in checked.output
    assert len(checked.output.splitlines()) == 1


def test_fetch_leaves_what_is_there_unless_told_otherwise(invoke, small_files, nowhere, monkeypatch):
    """Nothing is asked of the network for files that are here; --again asks, and leaves them where that fails."""
    monkeypatch.setattr(binary_mnist, "URL", nowhere)
    before = {path: path.read_bytes() for path in small_files.iterdir()}
    fetched = invoke("fetch", "binary-mnist")
    assert fetched.exit_code == 0
    assert fetched.output == "binary-mnist is already in data; --again downloads it again\n"
    again = invoke("fetch", "binary-mnist", "--again")
    assert again.exit_code == 2
    assert {path: path.read_bytes() for path in small_files.iterdir()} == before


@pytest.mark.parametrize("name", ["mnist", "binary-mnist"])
def test_fetch_without_a_network_is_one_error_and_leaves_nothing(invoke, tmp_path, nowhere, monkeypatch, name):
    """Exit code 2, the cause, and no folder."""
    monkeypatch.setattr(binary_mnist, "URL", nowhere)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{nowhere}/"])
    fetched = invoke("fetch", name)
    assert fetched.exit_code == 2
    assert f"{name} could not be " in fetched.output
    assert "data" in fetched.output
    assert "Traceback" not in fetched.output
    assert not list(tmp_path.iterdir())


def test_fetch_of_what_comes_with_a_package_says_so(invoke, tmp_path):
    """Exit code 2 and no folder."""
    fetched = invoke("fetch", "digits")
    assert fetched.exit_code == 2
    assert fetched.output == "digits comes with scikit-learn; there is nothing to fetch\n"
    assert not list(tmp_path.iterdir())
