"""What users' own images from .npz arrays have beyond those of any file, in `test_own_images.py`."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.file import SpecError, spec_from_text
from orchestrator.spec.model import json_schema
from workers.data.dataset import DataError
from workers.data.own.image_npz import ImageNpz

RECIPE = Path(__file__).parents[3] / "recipes" / "omniglot-npz-short.yaml"
TRAIN, VALIDATION, TEST = 6, 2, 3


def arrays(**changes):
    random = np.random.default_rng(0)
    made = {
        "train_images": random.integers(0, 256, (TRAIN + VALIDATION, 4, 6), dtype=np.uint8),
        "train_labels": np.arange(TRAIN + VALIDATION, dtype=np.int16) % 4,
        "test_images": random.integers(0, 256, (TEST, 4, 6), dtype=np.uint8),
        "test_labels": np.arange(TEST, dtype=np.int16),
    }
    return {**made, **changes}


@pytest.fixture
def own(tmp_path):
    """One file with both parts below `tmp_path`, and its configuration."""
    np.savez(tmp_path / "own.npz", **arrays())
    return ImageNpz(
        train_file="own.npz",
        test_file="own.npz",
        train_key="train_images",
        test_key="test_images",
        train_label_key="train_labels",
        test_label_key="test_labels",
        layout="NHW",
        shape=(1, 4, 6),
        train_examples=TRAIN,
        validation_examples=VALIDATION,
        test_examples=TEST,
        classes=4,
    )


def refusal(dataset, root):
    with pytest.raises(DataError) as caught:
        dataset.load(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_both_parts_may_be_in_one_file_compressed_or_not(own, tmp_path, save):
    """Grey images come back bit by bit with a channel axis, and labels with them."""
    made = arrays()
    save(tmp_path / "own.npz", **made)
    data = own.load(tmp_path)
    assert np.array_equal(data.train.pixels.numpy(), made["train_images"][:TRAIN, None])
    assert np.array_equal(data.validation.pixels.numpy(), made["train_images"][TRAIN:, None])
    assert np.array_equal(data.test.pixels.numpy(), made["test_images"][:, None])
    assert data.train.labels.tolist() + data.validation.labels.tolist() == made["train_labels"].tolist()
    assert own.locate(tmp_path) == [tmp_path / "own.npz"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("layouts")


@given(shape=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 100))
def test_every_layout_of_the_same_images_is_read_alike(scratch, shape, seed):
    """The order of the axes in the file changes nothing, whatever the sizes."""
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    for layout, stored in (("NCHW", images), ("NHWC", images.transpose(0, 2, 3, 1)), ("NHW", images[:, 0])):
        if layout == "NHW" and shape[1] > 1:
            continue
        np.savez(scratch / "images.npz", a=stored)
        dataset = ImageNpz(
            train_file="images.npz",
            test_file="images.npz",
            train_key="a",
            test_key="a",
            layout=layout,
            shape=shape[1:],
            train_examples=shape[0],
            test_examples=shape[0],
        )
        data = dataset.load(scratch)
        assert np.array_equal(data.train.pixels.numpy(), images)
        assert data.train.labels is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((8, 4, 5), np.uint8)},
         "array 'train_images' has shape (8, 4, 5), but layout NHW and shape [1, 4, 6] mean (N, 4, 6)"),
        ({"train_images": np.zeros((8, 24), np.uint8)}, "array 'train_images' has shape (8, 24)"),
        ({"test_images": np.zeros((3, 4, 6), np.float32)}, "array 'test_images' is float32; images must be uint8"),
        ({"test_images": np.array([{}, {}, {}])}, "array 'test_images' cannot be read: Object arrays cannot be loaded"),
        ({"train_images": np.zeros((9, 4, 6), np.uint8)},
         "has 9 examples, but train_examples (6) and validation_examples (2) make 8; write train_examples: 7"),
        ({"test_images": np.zeros((5, 4, 6), np.uint8)},
         "has 5 examples, but test_examples is 3; write test_examples: 5"),
        ({"test_labels": np.array([0, 1])}, "array 'test_labels' has 2 labels, but there are 3 images"),
        ({"test_labels": np.array([0.0, 1, 2])}, "array 'test_labels' is float64 of shape (3,); labels must be (N,)"),
        ({"test_labels": np.array([0, 1, 2], np.uint64)}, "array 'test_labels' is uint64"),
        ({"test_labels": np.zeros((3, 4), int)}, "array 'test_labels' is int64 of shape (3, 4)"),
        ({"train_labels": np.array([0, -3, 4, 1, 1, 1, 1, 1])}, "row 1 of 'train_labels' has label -3"),
    ],
)  # fmt: skip
def test_a_wrong_array_is_named_by_file_key_and_row(own, tmp_path, changes, message):
    """Nothing is converted or guessed, and nothing is unpickled."""
    np.savez(tmp_path / "own.npz", **arrays(**changes))
    text = refusal(own, tmp_path)
    assert text.startswith(f"{tmp_path / 'own.npz'}: ")
    assert message in text


@pytest.mark.parametrize(
    ("option", "key"), [("train_key", "x"), ("test_key", "train"), ("train_label_key", "y"), ("test_label_key", "y")]
)
def test_a_missing_array_names_those_there_are(own, tmp_path, option, key):
    """The message has the option to change and what it could be."""
    text = refusal(replace(own, **{option: key}), tmp_path)
    assert f"has no array '{key}' ({option}); its arrays are 'train_images', 'train_labels', 'test_images'" in text


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "single", "member"])
def test_a_file_that_is_no_npz_is_named(own, tmp_path, damage):
    """Files of another kind, files that end early, and files whose bytes have changed."""
    path = tmp_path / "own.npz"
    content = bytearray(path.read_bytes())
    content[300] ^= 255  # in the pixels of the first array
    if damage == "single":
        with path.open("wb") as file:
            np.save(file, arrays()["train_images"])
    elif damage == "member":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("train_images", "text")
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"images", "cut": whole[:-60], "flipped": bytes(content)}[damage])
    assert refusal(own, tmp_path).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "HWN"}, "layout is 'HWN'; choose one of NHW, NCHW, NHWC"),
        ({"shape": (3, 4, 6)}, "layout is NHW, which has no channels, but shape has 3"),
        ({"train_key": ""}, "train_key is empty"),
        ({"test_label_key": ""}, "test_label_key is empty, but the other part has labels"),
        ({"train_label_key": "", "classes": 0}, "train_label_key is empty"),
    ],
)
def test_options_out_of_range_are_refused(own, options, message):
    """Each option that cannot be is named first."""
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(own, **options)


def test_a_spec_names_the_nearest_layout():
    """The layouts are choices like any other."""
    text = RECIPE.read_text().replace("layout: NHW ", "layout: NHCW ")
    with pytest.raises(SpecError, match=r"dataset\.layout: 'NHCW' is not a choice; did you mean 'N"):
        spec_from_text(text, "x.yaml")
    layout = json_schema()["$defs"]["ImageNpzSection"]["properties"]["layout"]
    assert layout["enum"] == ["NHW", "NCHW", "NHWC"]
