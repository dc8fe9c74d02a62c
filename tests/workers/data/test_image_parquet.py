"""What users' own images from Parquet have beyond those of any file, in `test_own_images.py`."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from orchestrator.planning.plan import plan
from orchestrator.spec.file import SpecError, spec_from_text, spec_yaml
from workers.data.dataset import DataError
from workers.data.own.image_parquet import ImageParquet
from workers.data.registry import configure

RECIPE = Path(__file__).parents[3] / "recipes" / "cifar10-jpeg-short.yaml"
CPU = torch.device("cpu")
TRAIN, VALIDATION, TEST = 6, 2, 3
LABELS = np.arange(TRAIN + VALIDATION) % 4


def encode(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def write(path, images, labels=None, *, as_struct=False, label_type=None):
    """Write images, given as arrays to encode or as bytes, in either of the forms of data hubs."""
    contents = [image if image is None or isinstance(image, bytes) else encode(image) for image in images]
    if as_struct:
        contents = [None if content is None else {"bytes": content, "path": "x.png"} for content in contents]
    columns = {"image": pa.array(contents)}
    if labels is not None:
        columns["label"] = pa.array(labels, label_type or pa.int8())
    pq.write_table(pa.table(columns), path, row_group_size=3)


@pytest.fixture
def colours():
    """Eight training and three test images of 4×6 pixels in colour."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8) for count in (TRAIN + VALIDATION, TEST)]


@pytest.fixture
def own(tmp_path, colours):
    """Both files below `tmp_path`, and their configuration."""
    write(tmp_path / "train.parquet", colours[0], LABELS)
    write(tmp_path / "test.parquet", colours[1], [0, 1, 2])
    return ImageParquet(
        train="train.parquet",
        test="test.parquet",
        shape=(3, 4, 6),
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


def test_both_forms_of_data_hubs_are_read(own, tmp_path, colours):
    """Bytes, and a struct of bytes and path, hold the same images."""
    plain = own.load(tmp_path)
    write(tmp_path / "train.parquet", colours[0], LABELS, as_struct=True, label_type=pa.int64())
    assert torch.equal(own.load(tmp_path).train.pixels, plain.train.pixels)


def test_grey_jpegs_without_labels(own, tmp_path):
    """JPEG is decoded as Pillow does, and images need no labels."""
    grey = np.random.default_rng(1).integers(0, 256, (11, 5, 7), dtype=np.uint8)
    contents = [encode(image, "JPEG") for image in grey]
    write(tmp_path / "train.parquet", contents[:8])
    write(tmp_path / "test.parquet", contents[8:])
    data = replace(own, shape=(1, 5, 7), label_column="", classes=0).load(tmp_path)
    assert data.train.labels is None
    assert data.test.first(2).labels is None
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents])
    assert np.array_equal(data.test.pixels[:, 0].numpy(), decoded[8:])


@pytest.mark.parametrize(
    ("row", "image", "message"),
    [
        (5, np.zeros((4, 7, 3), np.uint8), "RGB, 4×7 (height×width); shape [3, 4, 6] means RGB, 4×6"),
        (7, np.zeros((4, 6), np.uint8), "L, 4×6 (height×width); shape [3, 4, 6] means RGB, 4×6"),
        (4, np.zeros((4, 6, 4), np.uint8), "RGBA, 4×6"),
        (3, b"no image", "cannot be decoded as an image: cannot identify image file"),
        (0, b"", "cannot be decoded as an image"),
        (6, encode(np.zeros((4, 6, 3), np.uint8), "PNG")[:-30], "cannot be decoded as an image: "),
        (2, None, "has no image bytes"),
    ],
)
@pytest.mark.parametrize("as_struct", [False, True])
def test_a_wrong_image_is_named_by_file_and_row(own, tmp_path, colours, row, image, message, as_struct):
    """Nothing is resized, converted or skipped."""
    images = list(colours[0])
    images[row] = image
    write(tmp_path / "train.parquet", images, LABELS, as_struct=as_struct)
    text = refusal(own, tmp_path)
    assert text.startswith(f"{tmp_path / 'train.parquet'}: row {row} of 'image' ")
    assert message in text


def test_a_missing_label_is_named_by_file_and_row(own, tmp_path, colours):
    """Rows without a label are refused."""
    write(tmp_path / "train.parquet", colours[0], [0, 1, 2, 3, 0, None, 2, 3])
    assert f"{tmp_path / 'train.parquet'}: row 5 of 'label' has no label" in refusal(own, tmp_path)


@pytest.mark.parametrize(("option", "column"), [("image_column", "img"), ("label_column", "fine_label")])
def test_a_missing_column_names_those_there_are(own, tmp_path, option, column):
    """The message has the option to change and what it could be."""
    text = refusal(replace(own, **{option: column}), tmp_path)
    assert f"has no column '{column}' ({option}); its columns are 'image', 'label'" in text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.png"], "label": [0]}, "'image' is string; it must be the bytes of image files"),
        ({"image": [{"path": "a.png"}], "label": [0]}, "it must be the bytes of image files"),
        ({"image": [b"x"], "label": ["cat"]}, "'label' is string; labels must be whole numbers"),
    ],
)
def test_columns_of_another_kind_are_refused(own, tmp_path, columns, message):
    """Paths are not images, and names of classes are not labels."""
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    assert message in refusal(replace(own, test_examples=1), tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"cut"])
def test_a_file_that_is_no_parquet_is_named(own, tmp_path, content):
    """Files of another kind, and files that end early."""
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:-30] if content == b"cut" else content)
    assert f"{path}: is not a Parquet file, or is damaged" in refusal(own, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (2, 4, 6)}, "shape has 2 channels"),
        ({"image_column": ""}, "image_column is empty"),
    ],
)
def test_options_out_of_range_are_refused(own, options, message):
    """Each option that cannot be is named first."""
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(own, **options)


SPEC = """\
name: own
dataset:
  name: image-parquet
  train: train.parquet
  test: test.parquet
  shape: [3, 4, 6]
  train_examples: 6
  test_examples: 3
architecture: {name: mlp, hidden: [8], latent_units: 2}
objective: {likelihood: squared-error}
methods: [{kind: beta-vae, betas: [1]}]
training: {epochs: 1}
"""


def test_a_spec_is_read_written_and_read_again():
    """The shape is a list in YAML and a tuple in the dataset."""
    spec = spec_from_text(SPEC, "x.yaml")
    dataset = plan(spec).trials[0].trial.dataset
    assert dataset == configure(
        "image-parquet",
        train="train.parquet",
        test="test.parquet",
        shape=[3, 4, 6],
        train_examples=6,
        test_examples=3,
    )
    assert spec_from_text(spec_yaml(spec), "again.yaml") == spec


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  test: test.parquet\n", "", "x.yaml:2:1: dataset.test: this key is missing"),
        ("train: train.parquet", "train: ../train.parquet", "x.yaml:4:10: dataset.train: train is '../train.parquet'"),
        ("[3, 4, 6]", "[3, 4]", "x.yaml:6:10: dataset.shape: 2 given; give at least 3"),
        ("[3, 4, 6]", "[3, 4, 6, 1]", "x.yaml:6:10: dataset.shape: 4 given; give at most 3"),
        ("[3, 4, 6]", "[3, 4, -6]", "x.yaml:6:10: dataset.shape: shape is (3, 4, -6)"),
        ("[3, 4, 6]", "[3, 4, 6.5]", "x.yaml:6:17: dataset.shape.2: 6.5; it must be a whole number"),
        ("name: mlp, hidden: [8]", "name: resnet", "3x4x6"),
        ("training:", "evaluation: {split: validation}\ntraining:", "has no validation examples"),
        ("training:", "grid: {dataset.shape: [[3, 4, 6], [2, 4, 6]]}\ntraining:", "shape has 2 channels"),
    ],
)
def test_errors_of_a_spec_stand_at_their_place(old, new, message):
    """What is wrong with the options of a reader is said like any other problem of a spec."""
    assert old in SPEC
    with pytest.raises(SpecError) as caught:
        spec_from_text(SPEC.replace(old, new), "x.yaml")
    assert message in str(caught.value)


def test_a_shape_may_vary_in_a_grid_if_the_architecture_takes_each():
    """Every shape of a grid is checked, not the first one alone."""
    shaped = SPEC.replace("[3, 4, 6]", "[1, 28, 28]").replace("mlp, hidden: [8]", "resnet")
    assert len(plan(spec_from_text(shaped, "x.yaml")).trials) == 1
    with pytest.raises(SpecError, match="1x4x6"):
        spec_from_text(f"{shaped}grid: {{dataset.shape: [[1, 28, 28], [1, 4, 6]]}}\n", "x.yaml")
