"""Digits and MNIST: splits, binarisation, and what is said of missing or damaged files."""

import shutil
import struct

import numpy as np
import pytest
import torch

from workers.data.dataset import DataError
from workers.data.digits import Digits
from workers.data.published.mnist import MNIST
from workers.data.registry import configure
from workers.seeding import generator

CPU = torch.device("cpu")


def test_digits_are_three_disjoint_splits(tmp_path):
    """All 1,797 images are used once, and thresholding leaves black and white."""
    data = Digits().load(tmp_path)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [1297, 250, 250]
    assert data.train.pixels.shape[1:] == (1, 8, 8)
    assert set(data.train.pixels.unique().tolist()) == {0, 255}
    assert sorted(set(data.test.labels.tolist())) == list(range(10))


def test_digits_are_scikit_learns(tmp_path):
    """The same images and labels as its loader gives, in our order."""
    from sklearn.datasets import load_digits

    data = Digits(binarise="none").load(tmp_path)
    ours = torch.cat([data.split(name).pixels for name in ("train", "validation", "test")]).numpy()[:, 0]
    theirs = np.round(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(image.tobytes() for image in ours) == sorted(image.tobytes() for image in theirs)
    labels = torch.cat([data.split(name).labels for name in ("train", "validation", "test")])
    by_image = {image.tobytes(): label for image, label in zip(theirs, load_digits().target, strict=True)}
    assert [by_image[image.tobytes()] for image in ours] == labels.tolist()


def test_limits_keep_the_first_examples(tmp_path):
    """A limited set is the beginning of the whole one, binarised alike."""
    whole, part = (Digits(binarise="static", train_limit=limit).load(tmp_path) for limit in (0, 100))
    assert torch.equal(part.train.pixels, whole.train.pixels[:100])
    assert torch.equal(part.test.first(10).pixels, whole.test.pixels[:10])


def test_static_binarisation_is_the_same_each_time_and_has_the_grey_means(tmp_path):
    """It is drawn once from a fixed seed, each pixel white with the probability of its grey value."""
    first, again, grey = (Digits(binarise=how).load(tmp_path).train.pixels for how in ("static", "static", "none"))
    assert torch.equal(first, again)
    assert set(first.unique().tolist()) == {0, 255}
    assert first.double().mean().item() == pytest.approx(grey.double().mean().item(), rel=0.01)


def test_dynamic_binarisation_is_drawn_by_the_step(tmp_path):
    """Each use draws from the given generator, and the same generator gives the same image."""
    images = Digits(binarise="dynamic").load(tmp_path).train
    indices = torch.arange(64)
    draws = [images.batch(indices, generator(CPU, 0, "step", step)) for step in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert set(draws[0].unique().tolist()) == {0.0, 1.0}


def test_batches_are_floats_between_0_and_1(tmp_path):
    """Grey pixels are divided by 255."""
    images = Digits(binarise="none").load(tmp_path).train
    batch = images.batch(torch.tensor([3, 5]), generator(CPU, 0, "step", 0))
    assert batch.dtype == torch.float32
    assert torch.equal(batch, images.pixels[[3, 5]].float() / 255)


def test_missing_mnist_says_what_where_and_how(tmp_path):
    """One line: the dataset, the file that was looked for, and the command and option that mend it."""
    with pytest.raises(DataError) as refusal:
        MNIST().load(tmp_path)
    message = str(refusal.value)
    assert "\n" not in message
    assert str(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte") in message
    assert "mrvae-orch data fetch mnist" in message
    assert "--data" in message


def write_idx(path, array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def synthetic_mnist(tmp_path_factory):
    """Files in MNIST's format and sizes, of random pixels."""
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, examples in (("train", 60_000), ("t10k", 10_000)):
        write_idx(raw / f"{name}-images-idx3-ubyte", random.integers(0, 256, (examples, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{name}-labels-idx1-ubyte", random.integers(0, 10, examples, dtype=np.uint8))
    return root


def test_mnist_is_read_from_torchvisions_layout(synthetic_mnist):
    """Our reader and torchvision's see the same images; the last 10,000 of train are the validation split."""
    from torchvision import datasets

    data = MNIST(binarise="none").load(synthetic_mnist)
    theirs = datasets.MNIST(str(synthetic_mnist), train=True, download=False)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [50_000, 10_000, 10_000]
    assert torch.equal(data.train.pixels[:, 0], theirs.data[:50_000])
    assert torch.equal(data.validation.labels, theirs.targets[50_000:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "ends in row 59,999 of 60,000"),
        ("header", "header differs"),
        ("label", "row 7 has label 12"),
    ],
)
def test_damaged_mnist_names_file_and_row(synthetic_mnist, tmp_path, damage, message):
    """A damaged file is named with the row at which it goes wrong."""
    shutil.copytree(synthetic_mnist, tmp_path / "copy")
    kind = "labels-idx1" if damage == "label" else "images-idx3"
    path = tmp_path / "copy" / "MNIST" / "raw" / f"train-{kind}-ubyte"
    content = bytearray(path.read_bytes())
    if damage == "label":
        content[8 + 7] = 12
    content = {"cut": content[:-5], "header": b"\0\0\0\0" + content[4:], "label": content}[damage]
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        MNIST().load(tmp_path / "copy")
    assert str(path) in str(refusal.value)


def test_real_mnist_has_the_published_statistics(data_root):
    """The real files give the known label counts and mean, and a static binarisation with that mean."""
    grey, binary = MNIST(binarise="none").load(data_root), MNIST().load(data_root)
    labels = torch.cat([grey.train.labels, grey.validation.labels]).bincount()
    assert labels.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels = torch.cat([grey.train.pixels, grey.validation.pixels])
    assert pixels.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert binary.train.pixels.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-4)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_options_out_of_range_are_refused(name):
    """Misspelt binarisations and negative limits are errors that name the choices."""
    with pytest.raises(ValueError, match="choose one of none, threshold, static, dynamic"):
        configure(name, binarise="thresold")
    with pytest.raises(ValueError, match="train_limit is -1"):
        configure(name, train_limit=-1)
