"""Users' own images from Parquet: what is read, what is refused and in which words, and a training on it."""

import hashlib
import io
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from models.registry import configure as configure_architecture
from orchestrator.plan import plan
from orchestrator.spec_file import SpecError, read_spec, spec_from_text, spec_yaml
from workers.data.dataset import DataError
from workers.data.image_parquet import ImageParquet
from workers.data.registry import configure
from workers.run import run_trial
from workers.seeding import generator
from workers.trial import Evaluation, MultiRateVAE, Objective, Training, Trial

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


def test_images_are_read_as_they_are_and_the_end_of_train_is_validation(own, tmp_path, colours):
    """Lossless images come back bit by bit, channels first, with their labels, in the file's order."""
    data = own.load(tmp_path)
    expected = torch.from_numpy(colours[0].transpose(0, 3, 1, 2).copy())
    assert torch.equal(data.train.pixels, expected[:TRAIN])
    assert torch.equal(data.validation.pixels, expected[TRAIN:])
    assert torch.equal(data.test.pixels, torch.from_numpy(colours[1].transpose(0, 3, 1, 2).copy()))
    assert data.train.labels.tolist() + data.validation.labels.tolist() == LABELS.tolist()


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


def test_without_validation_all_of_the_file_is_trained_on(own, tmp_path):
    """The validation split is empty then, and not among the splits."""
    whole = replace(own, train_examples=TRAIN + VALIDATION, validation_examples=0)
    data = whole.load(tmp_path)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [TRAIN + VALIDATION, 0, TEST]
    assert whole.splits == ("train", "test")


def test_flips_mirror_about_half_of_the_training_images_and_no_others(own, tmp_path):
    """A batch has images or their mirror images, drawn from the step's generator; what is evaluated is not flipped."""
    plain, flipped = own.load(tmp_path), replace(own, flip=True).load(tmp_path)
    indices = torch.arange(TRAIN).repeat(200)
    straight = plain.train.batch(indices, generator(CPU, 0, "step", 0))
    once, again, other = (flipped.train.batch(indices, generator(CPU, 0, "step", step)) for step in (0, 0, 1))
    mirrored = (once == straight.flip(-1)).flatten(1).all(1)
    assert torch.equal(once[~mirrored], straight[~mirrored])
    assert 500 < int(mirrored.sum()) < 700
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    evaluated = flipped.split("train").batch(indices, generator(CPU, 0, "step", 0))
    assert torch.equal(evaluated, straight)
    assert not flipped.test.flip


def test_thresholds_apply_as_to_any_dataset(own, tmp_path):
    """Own images are binarised by the same options."""
    grey = own.load(tmp_path).train.pixels
    assert torch.equal(replace(own, binarise="threshold").load(tmp_path).train.pixels > 0, grey > 127)


@pytest.mark.parametrize(
    ("row", "image", "message"),
    [
        (5, np.zeros((4, 7, 3), np.uint8), "RGB, 4×7 (height×width); shape [3, 4, 6] means RGB, 4×6"),
        (7, np.zeros((4, 6), np.uint8), "L, 4×6 (height×width); shape [3, 4, 6] means RGB, 4×6"),
        (4, np.zeros((4, 6, 4), np.uint8), "RGBA, 4×6"),
        (3, b"no image", "no image that can be decoded: cannot identify image file"),
        (0, b"", "no image that can be decoded"),
        (6, encode(np.zeros((4, 6, 3), np.uint8), "PNG")[:-30], "no image that can be decoded: "),
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


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_the_classes_is_named_by_file_and_row(own, tmp_path, colours, label):
    """Labels run from 0 to one below the number of classes, which 0 leaves unchecked."""
    write(tmp_path / "test.parquet", colours[1], [0, label, 3])
    text = refusal(own, tmp_path)
    assert text == (
        f"{tmp_path / 'test.parquet'}: row 1 of 'label' has label {label}; with classes: 4, labels are 0 to 3"
    )
    assert replace(own, classes=0).load(tmp_path).test.labels.tolist() == [0, label, 3]


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


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train_examples": 8},
         "has 8 examples, but train_examples (8) and validation_examples (2) make 10; write train_examples: 6"),
        ({"validation_examples": 9}, "there must be fewer validation_examples"),
        ({"test_examples": 2}, "test.parquet: has 3 examples, but test_examples is 2; write test_examples: 3"),
    ],
)  # fmt: skip
def test_declared_counts_must_be_the_files(own, tmp_path, counts, message):
    """The message states the right number."""
    assert message in refusal(replace(own, **counts), tmp_path)


def test_a_changed_file_does_not_pass_for_the_old_one(own, tmp_path, colours):
    """With its sha256 given, a file with other images of the same number is refused."""
    digests = {
        f"{part}_sha256": hashlib.sha256((tmp_path / f"{part}.parquet").read_bytes()).hexdigest()
        for part in ("train", "test")
    }
    sealed = replace(own, **digests)
    assert len(sealed.load(tmp_path).train) == TRAIN
    write(tmp_path / "test.parquet", 255 - colours[1], [0, 1, 2])
    own.load(tmp_path)
    text = refusal(sealed, tmp_path)
    assert f"{tmp_path / 'test.parquet'}: is not the file that test_sha256 names" in text


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"cut"])
def test_a_file_that_is_no_parquet_is_named(own, tmp_path, content):
    """Files of another kind, and files that end early."""
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:-30] if content == b"cut" else content)
    assert f"{path}: is no Parquet file, or a damaged one" in refusal(own, tmp_path)


def test_a_missing_file_says_where_it_was_looked_for(own, tmp_path):
    """There is nothing to fetch, so the message does not advise it."""
    text = refusal(own, tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere" / "train.parquet") in text
    assert "--data" in text
    assert "fetch" not in text
    with pytest.raises(DataError, match="nothing to fetch"):
        own.fetch(tmp_path)


@pytest.mark.parametrize("path", ["/etc/images", "../images", "a/../../images", "", ".", "C:/images", "a\\b", "a\0b"])
@pytest.mark.parametrize("option", ["train", "test"])
def test_paths_stay_below_the_data_folder(own, option, path):
    """A path that could lead out of it is refused before any file is opened."""
    with pytest.raises(ValueError, match=f"^{option} is .* it must be a file's path below the data folder"):
        replace(own, **{option: path})


def test_paths_that_are_the_same_are_the_same_dataset(own):
    """What is written differently and means the same file makes no other trial."""
    assert replace(own, train=".//train.parquet") == own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3, 32)}, "shape is .* channels, height and width"),
        ({"shape": (3, 0, 6)}, "shape is"),
        ({"shape": (3, 4.0, 6)}, "shape is"),
        ({"shape": (2, 4, 6)}, "shape has 2 channels"),
        ({"train_examples": 0}, "train_examples is 0; it must be 1 or more"),
        ({"test_examples": 0}, "test_examples is 0"),
        ({"validation_examples": -1}, "validation_examples is -1; it must be 0 or more"),
        ({"classes": -1}, "classes is -1"),
        ({"label_column": ""}, "classes is 4, but no labels are named"),
        ({"image_column": ""}, "image_column is empty"),
        ({"train_sha256": "abc"}, "train_sha256 is 'abc'; it must be 64 hexadecimal digits"),
        ({"binarise": "thresold"}, "binarise is 'thresold'; choose one of none, threshold"),
    ],
)
def test_options_out_of_range_are_refused(own, options, message):
    """Each option that cannot be is named first."""
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(own, **options)


def trial_on(dataset):
    return Trial(
        dataset=dataset,
        architecture=configure_architecture("mlp", hidden=[16], latent_units=3),
        objective=Objective(likelihood="squared-error"),
        method=MultiRateVAE(0.01, 10.0),
        training=Training(epochs=2, batch_size=16),
        seed=0,
    )


def test_every_option_is_identity_and_survives_json(own):
    """A list for the shape, as JSON has it, is the same dataset; another value of any option is another trial."""
    trial = trial_on(own)
    record = trial.to_json()
    assert Trial.from_json({**record, "dataset": {**record["dataset"], "shape": [3, 4, 6]}}) == trial
    others = {
        "binarise": "static",
        "train_limit": 1,
        "shape": (3, 4, 5),
        "train_examples": 5,
        "test_examples": 5,
        "validation_examples": 5,
        "classes": 5,
        "flip": True,
        "train_sha256": "0" * 64,
        "test_sha256": "0" * 64,
        "train": "a",
        "test": "a",
        "image_column": "a",
        "label_column": "a",
    }
    assert set(others) == {field.name for field in fields(own)}
    ids = {trial_on(replace(own, **{name: value})).trial_id for name, value in others.items()}
    assert len(ids | {trial.trial_id}) == len(others) + 1


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
        ("[3, 4, 6]", "[3, 4]", "x.yaml:6:10: dataset.shape: 2 given; there must be at least 3"),
        ("[3, 4, 6]", "[3, 4, 6, 1]", "x.yaml:6:10: dataset.shape: 4 given; there must be at most 3"),
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


def test_a_tiny_training_on_own_images(own, tmp_path, make_context):
    """Read, flipped, trained on and evaluated on its validation split."""
    trial = trial_on(replace(own, flip=True))
    evaluation = Evaluation(betas=(1.0,), split="validation")
    outcome = run_trial(trial, make_context(trial, evaluation=evaluation, load_data=lambda it: it.load(tmp_path)))
    assert outcome.state == "done", outcome.message


@pytest.fixture(scope="module")
def cifar10_root():
    """The folder of real datasets, where it has CIFAR-10 as JPEG."""
    root = Path(os.environ.get("MRVAE_DATA", "data"))
    if not (root / "cifar10-jpeg" / "train.parquet").is_file():
        pytest.skip(f"no cifar10-jpeg/train.parquet below {root}; set MRVAE_DATA to a folder that has it")
    return root


def test_the_recipe_plans_with_the_sizes_that_it_says():
    """One Multi-Rate VAE and two β-VAEs on 45,000 of CIFAR-10's images, of which it takes the first 5,000."""
    trials = [planned.trial for planned in plan(read_spec(RECIPE)).trials]
    assert len(trials) == 3
    assert trials[0].dataset.shape == (3, 32, 32)
    assert trials[0].dataset.examples_per_epoch == 5000


def test_real_cifar10_has_its_counts_and_means(cifar10_root):
    """All 60,000 images are read by the recipe's options, each class as often as it should be."""
    dataset = replace(plan(read_spec(RECIPE)).trials[0].trial.dataset, train_limit=0)
    data = dataset.load(cifar10_root)
    assert [len(data.split(name)) for name in dataset.splits] == [45_000, 5000, 10_000]
    assert torch.cat([data.train.labels, data.validation.labels]).bincount().tolist() == [5000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    total = sum(part.pixels.sum((0, 2, 3), dtype=torch.int64) for part in (data.train, data.validation))
    means = total.double() / (50_000 * 32 * 32 * 255)
    assert means.tolist() == pytest.approx([0.4913, 0.4821, 0.4465], abs=1e-4)


def test_real_jpegs_train(cifar10_root, tmp_path, make_context):
    """64 real images are learned from: the loss of a small network falls."""
    table = next(pq.ParquetFile(cifar10_root / "cifar10-jpeg" / "train.parquet").iter_batches(96))
    for name, rows in (("train", table.slice(0, 64)), ("test", table.slice(64, 32))):
        pq.write_table(pa.Table.from_batches([rows]), tmp_path / f"{name}.parquet")
    dataset = ImageParquet(
        train="train.parquet",
        test="test.parquet",
        shape=(3, 32, 32),
        train_examples=64,
        test_examples=32,
        classes=10,
        flip=True,
    )
    trial = replace(trial_on(dataset), training=Training(epochs=20, batch_size=16, learning_rate=1e-2))
    context = make_context(trial, load_data=lambda it: it.load(tmp_path))
    assert run_trial(trial, context).state == "done"
    history = pq.read_table(context.store.trial(trial.trial_id).path / "history.parquet").to_pydict()
    assert history["loss"][-1] < 0.9 * history["loss"][0]
