"""Downloads from a real server on this machine: whole, or not at all.

As in the tests of reading, subclasses stand for the published sizes, md5 and addresses.
"""

import hashlib
import importlib.util
import pickle
import socket
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets
from torchvision.datasets.utils import extract_archive

from workers.data.dataset import DataError
from workers.data.digits import Digits
from workers.data.published import binary_mnist, omniglot
from workers.data.published.binary_mnist import BinaryMNIST
from workers.data.published.celeba64 import CelebA64
from workers.data.published.cifar10 import CIFAR10
from workers.data.published.fetching import fetch, is_here
from workers.data.published.omniglot import Omniglot
from workers.data.published.svhn import SVHN

RANDOM = np.random.default_rng(0)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder whose files a server on this machine gives; returns it and its address."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def nowhere(monkeypatch):
    """An address at which nothing listens."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refusal(dataset, root):
    with pytest.raises(DataError) as error:
        fetch(dataset, root)
    message = str(error.value)
    assert ".fetching" not in message
    return message


def small_cifar10(folder, address):
    batches = {f"data_batch_{number}": 2 for number in range(1, 6)} | {"test_batch": 3}
    contents = {
        name: {"data": RANDOM.integers(0, 256, (rows, 3072), dtype=np.uint8), "labels": [0] * rows}
        for name, rows in batches.items()
    }
    contents["batches.meta"] = {"label_names": ["a"] * 10}
    source = folder.parent / "cifar-10-batches-py"
    source.mkdir()
    for name, content in contents.items():
        (source / name).write_bytes(pickle.dumps(content))
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    entries = [(name, md5(source / name)) for name in contents]

    class Reader(datasets.CIFAR10):
        url = f"{address}/cifar-10-python.tar.gz"
        tgz_md5 = md5(folder / "cifar-10-python.tar.gz")
        train_list, test_list = entries[:5], entries[5:6]
        meta: ClassVar = {"filename": "batches.meta", "key": "label_names", "md5": entries[6][1]}

    class SmallCIFAR10(CIFAR10):
        published: ClassVar = {"train": 10, "test": 3}

        @staticmethod
        def reader():
            return Reader

    return SmallCIFAR10()


def test_cifar10_is_fetched_and_unpacked(served, tmp_path):
    """Into a new folder, without its archive; a second download replaces the first one."""
    dataset, root = small_cifar10(*served), tmp_path / "new" / "data"
    assert not is_here(dataset, root)
    fetch(dataset, root)
    assert is_here(dataset, root)
    assert files_below(root) == {path.relative_to(root).as_posix() for path in dataset.locate(root)}
    assert len(dataset.load(root).train) == 10
    damaged = root / "cifar-10-batches-py" / "test_batch"
    damaged.write_bytes(b"")
    (root / "mine").write_text("stays")
    fetch(dataset, root)
    assert damaged.stat().st_size > 0
    assert len(dataset.load(root).test) == 3
    assert (root / "mine").read_text() == "stays"


def test_svhn_is_fetched(served, tmp_path):
    """Both files, each checked."""
    folder, address = served
    for part, rows in (("train", 5), ("test", 2)):
        pixels = RANDOM.integers(0, 256, (32, 32, 3, rows), dtype=np.uint8)
        savemat(folder / f"{part}_32x32.mat", {"X": pixels, "y": np.ones((rows, 1))})

    class Reader(datasets.SVHN):
        split_list: ClassVar = {
            part: (f"{address}/{part}_32x32.mat", f"{part}_32x32.mat", md5(folder / f"{part}_32x32.mat"))
            for part in ("train", "test")
        }

    class SmallSVHN(SVHN):
        published: ClassVar = {"train": 5, "test": 2}

        @staticmethod
        def reader():
            return Reader

    fetch(SmallSVHN(), tmp_path / "data")
    assert files_below(tmp_path / "data") == {"SVHN/train_32x32.mat", "SVHN/test_32x32.mat"}
    assert len(SmallSVHN().load(tmp_path / "data").train) == 5


class SmallOmniglot(Omniglot):
    """Three training images and two test images."""

    published: ClassVar = {"train": 3, "test": 2}


def write_omniglot(path):
    one_hot = np.eye(50)[:, :3]
    savemat(
        path,
        {
            "data": RANDOM.random((784, 3)),
            "target": one_hot,
            "testdata": np.ones((784, 2)),
            "testtarget": one_hot[:, :2],
        },
    )


def test_omniglot_is_fetched(served, tmp_path, monkeypatch):
    """One file, read before it is put in its place."""
    folder, address = served
    write_omniglot(folder / "chardata.mat")
    monkeypatch.setattr(omniglot, "URL", f"{address}/chardata.mat")
    fetch(SmallOmniglot(), tmp_path)
    assert len(SmallOmniglot().load(tmp_path).train) == 3


class SmallBinaryMNIST(BinaryMNIST):
    """An image in each file."""

    published: ClassVar = dict.fromkeys(("train", "validation", "test"), 1)


def test_binary_mnist_is_fetched(served, tmp_path, monkeypatch):
    """Three files."""
    folder, address = served
    for name in ("train", "valid", "test"):
        (folder / f"binarized_mnist_{name}.amat").write_text(" ".join("01" * 392) + "\n")
    monkeypatch.setattr(binary_mnist, "URL", address)
    fetch(SmallBinaryMNIST(), tmp_path / "data")
    assert len(files_below(tmp_path / "data")) == 3
    assert SmallBinaryMNIST().load(tmp_path / "data").test.pixels.sum() == 392 * 255


def test_celeba64_is_fetched_and_unpacked(tmp_path):
    """Torchvision unpacks an archive beside its lists; only the place that it downloads from is another one."""
    source = tmp_path / "source"
    source.mkdir()
    names = [f"{number:06}.jpg" for number in range(1, 5)]
    with zipfile.ZipFile(source / "img_align_celeba.zip", "w") as archive:
        for name in names:
            Image.new("RGB", (178, 218)).save(source / name)
            archive.write(source / name, f"img_align_celeba/{name}")
    lines = {
        "list_eval_partition.txt": [f"{name} {part}" for name, part in zip(names, (0, 1, 2, 2), strict=True)],
        "identity_CelebA.txt": [f"{name} 1" for name in names],
        **{f"list_{what}.txt": ["4", "value", *(f"{name} 1" for name in names)] for what in (
            "attr_celeba", "bbox_celeba", "landmarks_align_celeba")},
    }  # fmt: skip
    for name, content in lines.items():
        (source / name).write_text("\n".join(content) + "\n")

    class Reader(datasets.CelebA):
        file_list: ClassVar = [("", md5(source / name), name) for name in ("img_align_celeba.zip", *lines)]

        def download(self):
            folder = tmp_path.joinpath(self.root, self.base_folder)
            folder.mkdir()
            for _, _, name in self.file_list:
                (folder / name).write_bytes((source / name).read_bytes())
            extract_archive(str(folder / "img_align_celeba.zip"))

    class SmallCelebA64(CelebA64):
        published: ClassVar = {"train": 1, "validation": 1, "test": 2}

        @staticmethod
        def reader():
            return Reader

    root = tmp_path / "data"
    fetch(SmallCelebA64(), root)
    assert files_below(root) == {f"celeba/{name}" for name in (*lines, *(f"img_align_celeba/{name}" for name in names))}
    assert len(SmallCelebA64().load(root).test) == 2


@pytest.mark.skipif(importlib.util.find_spec("gdown") is not None, reason="gdown is here")
def test_without_gdown_celeba64_says_what_is_needed(tmp_path):
    """Torchvision's words, and what to do without that package."""
    text = refusal(CelebA64(), tmp_path / "data")
    assert "pip install gdown" in text
    assert f"put these files there yourself: {tmp_path / 'data' / 'celeba' / 'list_eval_partition.txt'}" in text
    assert not (tmp_path / "data").exists()


def test_without_a_network_nothing_is_left(nowhere, tmp_path, monkeypatch):
    """One message with the cause and both ways out; not even the data folder is made."""
    monkeypatch.setattr(omniglot, "URL", f"{nowhere}/chardata.mat")
    root = tmp_path / "new" / "data"
    text = refusal(Omniglot(), root)
    assert text.startswith(f"omniglot could not be fetched, and {root} is unchanged: ")
    assert "Connection refused" in text
    assert f"put these files there yourself: {root / 'omniglot' / 'chardata.mat'}" in text
    assert not (tmp_path / "new").exists()


def test_a_failed_download_leaves_the_old_files(nowhere, tmp_path, monkeypatch):
    """What was there stays as it was."""
    (tmp_path / "omniglot").mkdir()
    write_omniglot(tmp_path / "omniglot" / "chardata.mat")
    before = md5(tmp_path / "omniglot" / "chardata.mat")
    monkeypatch.setattr(omniglot, "URL", f"{nowhere}/chardata.mat")
    refusal(SmallOmniglot(), tmp_path)
    assert files_below(tmp_path) == {"omniglot/chardata.mat"}
    assert md5(tmp_path / "omniglot" / "chardata.mat") == before


@pytest.mark.parametrize("content", ["cut", "page", "missing"])
@pytest.mark.parametrize("name", ["omniglot", "cifar10", "binary-mnist"])
def test_a_damaged_download_is_refused(served, tmp_path, monkeypatch, name, content):
    """A file that ends early, a web page in its place, and none: none of them becomes the dataset."""
    folder, address = served
    if name == "omniglot":
        write_omniglot(folder / "chardata.mat")
        monkeypatch.setattr(omniglot, "URL", f"{address}/chardata.mat")
        dataset = SmallOmniglot()
    elif name == "cifar10":
        dataset = small_cifar10(folder, address)
    else:
        for part in ("train", "valid", "test"):
            (folder / f"binarized_mnist_{part}.amat").write_text(" ".join("01" * 392) + "\n")
        monkeypatch.setattr(binary_mnist, "URL", address)
        dataset = SmallBinaryMNIST()
    for path in folder.iterdir():
        if content == "missing":
            path.unlink()
        else:
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2] if content == "cut" else b"<html>Log in to this network</html>")
    root = tmp_path / "data"
    text = refusal(dataset, root)
    assert "404" in text if content == "missing" else str(root) in text
    assert not root.exists()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path):
    """And the file is left alone."""
    (tmp_path / "data").write_text("mine")
    assert "could not be fetched" in refusal(Omniglot(), tmp_path / "data")
    assert (tmp_path / "data").read_text() == "mine"


def test_what_comes_with_a_package_is_not_fetched(tmp_path):
    """It is said, and no folder is made."""
    assert refusal(Digits(), tmp_path / "data") == "digits comes with scikit-learn; there is nothing to fetch"
    assert not (tmp_path / "data").exists()
