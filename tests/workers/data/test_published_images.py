"""The papers' image datasets, from small files in the published formats.

Each class is replaced by a subclass with the counts of the small files, and torchvision's reader by a subclass with
their md5: everything else is what reads the published ones.
"""

import hashlib
import pickle
import shutil
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets, transforms

from workers.data import resident
from workers.data.dataset import DataError
from workers.data.published.binary_mnist import BinaryMNIST
from workers.data.published.celeba64 import CelebA64
from workers.data.published.cifar10 import CIFAR10
from workers.data.published.omniglot import Omniglot
from workers.data.published.svhn import SVHN
from workers.data.resident import MappedImages
from workers.seeding import generator

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)


def refusal(dataset, root):
    with pytest.raises(DataError) as error:
        dataset.load(root)
    message = str(error.value)
    assert "\n" not in message
    return message


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


# ---------------------------------------------------------------------------------------------------- CIFAR-10


class SmallCIFAR10(CIFAR10):
    """Five training files of four images, and one test file of six."""

    published: ClassVar = {"train": 20, "test": 6}
    checksums: ClassVar = {}

    @classmethod
    def reader(cls):
        entries = list(cls.checksums.items())

        class Reader(datasets.CIFAR10):
            train_list, test_list = entries[:5], entries[5:6]
            meta: ClassVar = {"filename": "batches.meta", "key": "label_names", "md5": entries[6][1]}

        return Reader


CIFAR_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


def write_cifar10(root, batches):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)
    contents = [{"data": pixels.reshape(len(pixels), -1), "labels": labels} for pixels, labels in batches]
    contents.append({"label_names": [str(label) for label in range(10)]})
    for name, content in zip(CIFAR_FILES, contents, strict=True):
        (folder / name).write_bytes(pickle.dumps(content))
        SmallCIFAR10.checksums[name] = md5(folder / name)


@pytest.fixture
def cifar10(tmp_path):
    """The images and labels of six files, written below the folder."""
    batches = [
        (RANDOM.integers(0, 256, (rows, 3, 32, 32), dtype=np.uint8), RANDOM.integers(0, 10, rows).tolist())
        for rows in (4, 4, 4, 4, 4, 6)
    ]
    write_cifar10(tmp_path, batches)
    return batches


def test_cifar10_has_its_images_in_the_files_order(cifar10, tmp_path):
    """Channels, rows and columns as they are, the five training files one after the other; there is no validation."""
    data = SmallCIFAR10().load(tmp_path)
    assert SmallCIFAR10().splits == ("train", "test")
    assert np.array_equal(data.train.pixels, np.concatenate([pixels for pixels, _ in cifar10[:5]]))
    assert data.train.labels.tolist() == [label for _, labels in cifar10[:5] for label in labels]
    assert np.array_equal(data.test.pixels, cifar10[5][0])
    assert data.test.labels.tolist() == cifar10[5][1]
    assert len(data.validation) == 0
    assert [data.train.flip, data.test.flip] == [True, False]


def test_the_last_training_examples_can_be_held_out(cifar10, tmp_path):
    """They leave the training split, limit or not."""
    dataset = SmallCIFAR10(validation_examples=3)
    data, whole = dataset.load(tmp_path), SmallCIFAR10().load(tmp_path)
    assert dataset.splits == ("train", "validation", "test")
    assert (dataset.train_examples, dataset.examples_per_epoch, dataset.test_examples) == (17, 17, 6)
    assert torch.equal(data.train.pixels, whole.train.pixels[:17])
    assert torch.equal(data.validation.pixels, whole.train.pixels[17:])
    assert torch.equal(data.validation.labels, whole.train.labels[17:])
    assert not data.validation.flip
    limited = replace(dataset, train_limit=5).load(tmp_path)
    assert (len(limited.train), len(limited.validation)) == (5, 3)
    with pytest.raises(ValueError, match=r"^validation_examples is 20; it must be 0 or more, and below the 20"):
        replace(dataset, validation_examples=20)
    with pytest.raises(ValueError, match=r"^validation_examples is -1"):
        replace(dataset, validation_examples=-1)


def test_flips_are_an_option(cifar10, tmp_path):
    """Mirrored and not, as the generator says; without the option the images are what is in the files."""
    images = SmallCIFAR10(flip=False).load(tmp_path).train
    flipped = SmallCIFAR10().load(tmp_path).train
    straight = images.pixels.float() / 255
    mirrored = []
    for step in range(20):
        assert torch.equal(images.batch(torch.arange(20), generator(CPU, 0, "step", step)), straight)
        batch = flipped.batch(torch.arange(20), generator(CPU, 0, "step", step))
        mirrored.append((batch == straight.flip(-1)).flatten(1).all(1))
        assert torch.equal(batch[~mirrored[-1]], straight[~mirrored[-1]])
    assert 160 < int(torch.stack(mirrored).sum()) < 240


@pytest.mark.parametrize("name", CIFAR_FILES)
def test_a_cifar10_file_that_is_another_is_named(cifar10, tmp_path, name):
    """Changed in one bit, or cut: nothing of it is unpickled."""
    path = tmp_path / "cifar-10-batches-py" / name
    whole = path.read_bytes()
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-5]):
        path.write_bytes(content)
        text = refusal(SmallCIFAR10(), tmp_path)
        assert text.startswith(f"{path}: is not the published file (its md5 differs); get it again with ")
        assert "mrvae-orch data fetch cifar10 --again" in text
    path.unlink()
    assert f"looked for {path}. Get it with `mrvae-orch data fetch cifar10" in refusal(SmallCIFAR10(), tmp_path)


def test_a_label_out_of_range_is_named_by_file_and_row(cifar10, tmp_path):
    """Row 2 of the third file is row 10 of the training part."""
    cifar10[2][1][2] = 10
    write_cifar10(tmp_path, cifar10)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    assert refusal(SmallCIFAR10(), tmp_path).startswith(f"{path}: row 2 has label 10; labels are 0 to 9; ")


def test_another_number_of_images_is_refused(cifar10, tmp_path):
    """Both numbers are said."""
    write_cifar10(tmp_path, [*cifar10[:5], (cifar10[5][0][:5], cifar10[5][1][:5])])
    text = refusal(SmallCIFAR10(), tmp_path)
    assert "test_batch: the test images are (5, 3, 32, 32) and their labels (5,), not (6, 3, 32, 32) and (6,)" in text


# -------------------------------------------------------------------------------------------------------- SVHN


class SmallSVHN(SVHN):
    """Nine training images and four test images."""

    published: ClassVar = {"train": 9, "test": 4}
    checksums: ClassVar = {}

    @classmethod
    def reader(cls):
        checksums = cls.checksums

        class Reader(datasets.SVHN):
            split_list: ClassVar = {part: ("", f"{part}_32x32.mat", checksums[part]) for part in ("train", "test")}

        return Reader


def write_svhn(root, part, pixels, labels):
    (root / "SVHN").mkdir(exist_ok=True)
    path = root / "SVHN" / f"{part}_32x32.mat"
    savemat(path, {"X": pixels.transpose(2, 3, 1, 0), "y": labels[:, None].astype(np.uint8)})
    SmallSVHN.checksums[part] = md5(path)
    return path


@pytest.fixture
def svhn(tmp_path):
    """Images of both parts, whose labels are 1 to 9, and 10 for the digit 0."""
    images = {
        part: RANDOM.integers(0, 256, (rows, 3, 32, 32), dtype=np.uint8) for part, rows in SmallSVHN.published.items()
    }
    write_svhn(tmp_path, "train", images["train"], np.arange(2, 11))
    write_svhn(tmp_path, "test", images["test"], np.array([10, 1, 9, 10]))
    return images


def test_svhn_has_its_images_and_digits(svhn, tmp_path):
    """The files call the digit 0 ten. Nothing is mirrored: a digit is not its mirror image."""
    data = SmallSVHN().load(tmp_path)
    assert np.array_equal(data.train.pixels, svhn["train"])
    assert np.array_equal(data.test.pixels, svhn["test"])
    assert data.train.labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert data.test.labels.tolist() == [0, 1, 9, 0]
    assert not data.train.flip
    assert len(SmallSVHN(validation_examples=2).load(tmp_path).train) == 7


def test_damaged_svhn_names_file_and_row(svhn, tmp_path):
    """A cut file, a label that is no digit, and images of another size."""
    path = write_svhn(tmp_path, "train", svhn["train"], np.array([1, 2, 3, 11, 5, 6, 7, 8, 9]))
    assert refusal(SmallSVHN(), tmp_path).startswith(f"{path}: row 3 has label 11; labels are 0 to 9")
    write_svhn(tmp_path, "train", svhn["train"][..., :31], np.ones(9))
    assert f"{path}: the train images are (9, 3, 32, 31)" in refusal(SmallSVHN(), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(SmallSVHN(), tmp_path).startswith(f"{path}: is not the published file (its md5 differs)")
    path.unlink()
    assert f"looked for {path}" in refusal(SmallSVHN(), tmp_path)


# ---------------------------------------------------------------------------------------------------- Omniglot


class SmallOmniglot(Omniglot):
    """Twelve training images and seven test images."""

    published: ClassVar = {"train": 12, "test": 7}


@pytest.fixture
def omniglot(tmp_path):
    """The arrays of the file: grey values (784, N) down the columns, and one-hot alphabets (50, N)."""
    (tmp_path / "omniglot").mkdir()
    images = {name: RANDOM.integers(0, 256, (rows, 28, 28)) for name, rows in (("data", 12), ("testdata", 7))}
    arrays = {name: pixels.transpose(2, 1, 0).reshape(784, -1) / 255 for name, pixels in images.items()}
    arrays["target"] = np.eye(50, dtype=np.uint8)[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 49, 49]].T
    arrays["testtarget"] = np.eye(50, dtype=np.uint8)[[0, 1, 2, 3, 4, 48, 49]].T
    arrays["targetchar"] = np.ones((1, 12))
    write_omniglot(tmp_path, arrays)
    return images, arrays


def write_omniglot(root, arrays):
    savemat(root / "omniglot" / "chardata.mat", arrays)


def test_omniglot_has_its_images_upright_with_their_alphabets(omniglot, tmp_path):
    """All of them once, each with its label, in another order than the file's, where the alphabets are sorted."""
    images, arrays = omniglot
    data = SmallOmniglot(binarise="none").load(tmp_path)
    for split, name, target in ((data.train, "data", "target"), (data.test, "testdata", "testtarget")):
        theirs = dict(
            zip((image.astype(np.uint8).tobytes() for image in images[name]), arrays[target].T.argmax(1), strict=True)
        )
        ours = [image.tobytes() for image in split.pixels.numpy()]
        assert sorted(ours) == sorted(theirs)
        assert [theirs[image] for image in ours] == split.labels.tolist()
    assert data.train.labels.tolist() != sorted(data.train.labels.tolist())
    assert torch.equal(data.train.pixels, SmallOmniglot(binarise="none").load(tmp_path).train.pixels)


def test_omniglot_is_drawn_anew_in_training_and_once_to_evaluate(omniglot, tmp_path):
    """The paper's preparation: dynamic binarisation in training, fixed test images."""
    data = SmallOmniglot(validation_examples=4).load(tmp_path)
    indices = torch.arange(4)
    for split, changes in ((data.train, True), (data.validation, False), (data.test, False)):
        one, other = (split.batch(indices, generator(CPU, seed, "evaluation", 0)) for seed in (0, 1))
        assert set(one.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(one, other) is not changes
    assert (len(data.train), len(data.validation)) == (8, 4)
    static = SmallOmniglot(binarise="static").load(tmp_path)
    assert torch.equal(static.test.pixels, data.test.pixels)
    assert not static.train.dynamic


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "cannot be read: "),
        ("text", "cannot be read: "),
        ("missing array", "cannot be read: 'target'"),
        ("fewer", "data and target are (784, 11) and (50, 11), not (784, 12) and (50, 12)"),
        ("grey 255", "row 5 of train has a pixel outside 0 to 1"),
        ("not a number", "row 5 of train has a pixel outside 0 to 1"),
        ("two alphabets", "row 6 of train has not just one alphabet"),
        ("no alphabet", "row 6 of train has not just one alphabet"),
    ],
)
def test_damaged_omniglot_names_file_and_row(omniglot, tmp_path, damage, message):
    """Rows are counted from 0, as the file has them."""
    _, arrays = omniglot
    path = tmp_path / "omniglot" / "chardata.mat"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    elif damage == "text":
        path.write_bytes(b"<html>not here</html>" * 100)
    elif damage == "missing array":
        write_omniglot(tmp_path, {name: array for name, array in arrays.items() if name != "target"})
    elif damage == "fewer":
        write_omniglot(tmp_path, {name: array[:, :-1] for name, array in arrays.items()})
    elif damage in {"grey 255", "not a number"}:
        arrays["data"][100, 5] = 255 if damage == "grey 255" else np.nan
        write_omniglot(tmp_path, arrays)
    else:
        arrays["target"][:, 6] = damage == "two alphabets"
        write_omniglot(tmp_path, arrays)
    text = refusal(SmallOmniglot(), tmp_path)
    assert text.startswith(f"{path}: {message}")
    assert "mrvae-orch data fetch omniglot --again" in text


# ------------------------------------------------------------------------------------------------ binary MNIST


class SmallBinaryMNIST(BinaryMNIST):
    """Three small files."""

    published: ClassVar = {"train": 6, "validation": 3, "test": 2}


@pytest.fixture(params=["{}\n", "{} \n", "{}\r\n"])
def binary_mnist(tmp_path, request):
    """Images of the three parts, written as text with each way to end a line that copies of the files have."""
    (tmp_path / "binary_mnist").mkdir()
    images = {}
    for name, rows in (("train", 6), ("valid", 3), ("test", 2)):
        images[name] = RANDOM.integers(0, 2, (rows, 784))
        lines = (request.param.format(" ".join(map(str, row))) for row in images[name])
        (tmp_path / "binary_mnist" / f"binarized_mnist_{name}.amat").write_text("".join(lines), newline="")
    return images


def test_binary_mnist_has_its_images(binary_mnist, tmp_path):
    """Black and white as they are, with a validation split and without labels."""
    dataset = SmallBinaryMNIST()
    data = dataset.load(tmp_path)
    for name, split in (("train", data.train), ("valid", data.validation), ("test", data.test)):
        assert np.array_equal(split.pixels, binary_mnist[name].reshape(-1, 1, 28, 28) * 255)
        assert split.labels is None
    assert dataset.is_binary
    assert not dataset.has_labels
    assert len(SmallBinaryMNIST(train_limit=2).load(tmp_path).train) == 2
    with pytest.raises(ValueError, match=r"^binarise is 'static', but every pixel of binary-mnist is 0 or 1 already"):
        SmallBinaryMNIST(binarise="static")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "row 2 has 774 pixels, not 784"),
        ("fewer", "has 2 rows, not 3"),
        ("empty", "row 0 has 0 pixels"),
        ("blank line", "row 1 has 0 pixels"),
        ("grey", "row 1 has '7'; pixels are 0 or 1"),
    ],
)
def test_damaged_binary_mnist_names_file_and_row(binary_mnist, tmp_path, damage, message):
    """The first row that is wrong."""
    path = tmp_path / "binary_mnist" / "binarized_mnist_valid.amat"
    lines = path.read_text().splitlines()
    changed = {
        "cut": [*lines[:2], lines[2].strip()[:-20]],
        "fewer": lines[:2],
        "empty": [],
        "blank line": [lines[0], "", *lines[1:]],
        "grey": [lines[0], lines[1][:20] + "7" + lines[1][21:], lines[2]],
    }
    path.write_text("\n".join(changed[damage]))
    text = refusal(SmallBinaryMNIST(), tmp_path)
    assert text.startswith(f"{path}: {message}")
    assert "mrvae-orch data fetch binary-mnist --again" in text


# ---------------------------------------------------------------------------------------------------- CelebA64


class SmallCelebA64(CelebA64):
    """Seven photographs: four to train, one for validation, two to test."""

    published: ClassVar = {"train": 4, "validation": 1, "test": 2}


PARTS = (0, 2, 0, 1, 0, 2, 0)


@pytest.fixture
def celeba(tmp_path):
    """The folder of JPEG files and the list of parts."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, 8)]
    for name in names:
        small = RANDOM.integers(0, 256, (10, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((178, 218)).save(folder / "img_align_celeba" / name)
    lines = (f"{name} {part}\n" for name, part in zip(names, PARTS, strict=True))
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    return folder


def as_the_paper(path):
    """Crop, resize and convert by torchvision's transforms."""
    resize = transforms.Resize((64, 64), interpolation=transforms.InterpolationMode.BILINEAR)
    return transforms.PILToTensor()(resize(Image.open(path).crop((15, 40, 163, 188))))


def test_celeba64_is_cropped_resized_and_split(celeba, tmp_path):
    """The same pixels as by torchvision's transforms, in the official parts."""
    data = SmallCelebA64().load(tmp_path)
    paths = sorted((celeba / "img_align_celeba").iterdir())
    for number, split in enumerate((data.train, data.validation, data.test)):
        expected = [as_the_paper(path) for path, part in zip(paths, PARTS, strict=True) if part == number]
        assert torch.equal(split.pixels, torch.stack(expected))
        assert split.labels is None
    assert [data.train.flip, data.validation.flip, data.test.flip] == [True, False, False]
    assert not SmallCelebA64(flip=False).load(tmp_path).train.flip


def test_celeba64_is_decoded_once(celeba, tmp_path, monkeypatch):
    """Later trials open no image; another list of parts makes another preparation."""
    first = SmallCelebA64().load(tmp_path)
    (celeba / "img_align_celeba" / "000001.jpg").write_bytes(b"no image any more")
    monkeypatch.setattr(resident, "LARGEST_RESIDENT", 0)
    again = SmallCelebA64(train_limit=3).load(tmp_path)
    assert type(again.train) is MappedImages
    assert torch.equal(again.train.pixels, first.train.pixels[:3])
    partition = celeba / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace(" ", "  "))
    assert "000001.jpg: cannot be decoded as an image" in refusal(SmallCelebA64(), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be decoded as an image: "),
        (b"", "cannot be decoded as an image: "),
        ("cut", "cannot be decoded as an image: "),
        (("RGB", (178, 200)), "is RGB, (178, 200); aligned images are RGB, (178, 218) (width, height)"),
        (("L", (178, 218)), "is L, (178, 218)"),
    ],
)
def test_a_wrong_photograph_is_named(celeba, tmp_path, content, message):
    """Nothing half-prepared is left."""
    path = celeba / "img_align_celeba" / "000003.jpg"
    if content is None:
        path.unlink()
    elif isinstance(content, tuple):
        Image.new(*content).save(path)
    else:
        path.write_bytes(path.read_bytes()[:900] if content == "cut" else content)
    assert refusal(SmallCelebA64(), tmp_path).startswith(f"{path}: {message}")
    assert not list((tmp_path / ".prepared").glob("celeba64-train*"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("000003.jpg 0", "000003.jpg 3", "row 2 is '000003.jpg 3', not an image and its part, 0, 1 or 2"),
        ("000003.jpg 0", "000003.jpg", "row 2 is '000003.jpg'"),
        ("000003.jpg 0", "000003.jpg 1", "has {'train': 3, 'validation': 2, 'test': 2} images, not {'train': 4, "),
    ],
)
def test_a_wrong_list_of_parts_is_named_by_row(celeba, tmp_path, old, new, message):
    """The official parts, or none."""
    path = celeba / "list_eval_partition.txt"
    path.write_text(path.read_text().replace(old, new))
    assert refusal(SmallCelebA64(), tmp_path).startswith(f"{path}: {message}")


def test_celeba64_that_is_not_all_there_is_missing(celeba, tmp_path):
    """Only the last photograph is looked for."""
    (celeba / "img_align_celeba" / "000007.jpg").unlink()
    assert f"looked for {celeba / 'img_align_celeba' / '000007.jpg'}" in refusal(SmallCelebA64(), tmp_path)
    shutil.rmtree(celeba)
    assert f"looked for {celeba / 'list_eval_partition.txt'}" in refusal(SmallCelebA64(), tmp_path)


# ------------------------------------------------------------------------------------------- the published sizes


@pytest.mark.parametrize(
    ("dataset", "sizes", "shape", "binary", "flip"),
    [
        (BinaryMNIST(), (50_000, 10_000), (1, 28, 28), True, None),
        (Omniglot(), (24_345, 8_070), (1, 28, 28), True, False),
        (CIFAR10(), (50_000, 10_000), (3, 32, 32), False, True),
        (SVHN(), (73_257, 26_032), (3, 32, 32), False, False),
        (CelebA64(), (162_770, 19_962), (3, 64, 64), False, True),
    ],
)
def test_the_published_sizes_and_the_papers_options(dataset, sizes, shape, binary, flip):
    """The defaults are the Multi-Rate VAE paper's preparation."""
    assert (dataset.train_examples, dataset.test_examples) == sizes
    assert dataset.examples_per_epoch == sizes[0]
    assert dataset.shape == shape
    assert dataset.is_binary is binary
    assert getattr(dataset, "flip", None) is flip
    assert not dataset.is_reader()
    with pytest.raises(ValueError, match="choose one of none, threshold, static, dynamic"):
        replace(dataset, binarise="thresold")
    with pytest.raises(ValueError, match="train_limit is -1"):
        replace(dataset, train_limit=-1)
