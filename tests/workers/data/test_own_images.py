"""Users' own images, whichever kind of file has them: what is read, what is refused and in which words, and training.

What one kind of file has alone is in `test_image_npz.py` and `test_image_parquet.py`.
"""

import hashlib
import io
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from evaluation.records import HistoryRow, from_parquet
from models.architectures.registry import configure as configure_architecture
from orchestrator.planning.plan import plan
from orchestrator.spec.file import read_spec
from workers.data.dataset import DataError
from workers.data.own.image_npz import ImageNpz
from workers.data.own.image_parquet import ImageParquet
from workers.running.run import run_trial
from workers.seeding import generator
from workers.trial import Evaluation, MultiRateVAE, Objective, Training, Trial

RECIPES = Path(__file__).parents[3] / "recipes"
CPU = torch.device("cpu")
TRAIN, VALIDATION, TEST = 6, 2, 3
COUNTS = {"train_examples": TRAIN, "validation_examples": VALIDATION, "test_examples": TEST}
LABELS = [list(range(4)) * 2, [0, 1, 2]]
PARTS = ("train", "test")


def write_npz(path, images, labels):
    with path.open("wb") as file:
        np.savez(file, image=images, label=np.array(labels, np.int16))


def write_parquet(path, images, labels):
    contents = []
    for image in images:
        Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
        contents.append(buffer.getvalue())
    pq.write_table(pa.table({"image": contents, "label": pa.array(labels, pa.int8())}), path, row_group_size=3)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is written, the options that name two of them, and its own options' other values."""

    write: Any
    configured: Any
    paths: tuple[str, str]
    unlabelled: dict[str, Any]
    others: dict[str, Any]


KINDS = {
    "npz": Kind(
        write_npz,
        ImageNpz(
            **{f"{part}_file": part for part in PARTS},
            **{f"{part}_key": "image" for part in PARTS},
            **{f"{part}_label_key": "label" for part in PARTS},
            **{"layout": "NHWC", "shape": (3, 4, 6), "classes": 4, **COUNTS},
        ),
        ("train_file", "test_file"),
        {"train_label_key": "", "test_label_key": ""},
        {**{f"{part}_{key}": "a" for part in PARTS for key in ("key", "label_key")}, "layout": "NCHW"},
    ),
    "parquet": Kind(
        write_parquet,
        ImageParquet(**{part: part for part in PARTS}, shape=(3, 4, 6), classes=4, **COUNTS),
        ("train", "test"),
        {"label_column": ""},
        {"image_column": "a", "label_column": "a"},
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def colours():
    """Eight training and three test images of 4×6 pixels in colour."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8) for count in (TRAIN + VALIDATION, TEST)]


@pytest.fixture
def own(kind, tmp_path, colours):
    """The data set of both files below `tmp_path`."""
    for part, images, labels in zip(PARTS, colours, LABELS, strict=True):
        kind.write(tmp_path / part, images, labels)
    return kind.configured


def refusal(dataset, root):
    with pytest.raises(DataError) as caught:
        dataset.load(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_are_read_as_they_are_and_the_end_of_train_is_validation(own, tmp_path, colours):
    """Images come back bit by bit, channels first, with their labels, in the file's order."""
    data = own.load(tmp_path)
    train, test = (torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) for images in colours)
    assert torch.equal(data.train.pixels, train[:TRAIN])
    assert torch.equal(data.validation.pixels, train[TRAIN:])
    assert torch.equal(data.test.pixels, test)
    assert [*data.train.labels.tolist(), *data.validation.labels.tolist()] == LABELS[0]
    assert own.locate(tmp_path) == [tmp_path / "train", tmp_path / "test"]


def test_images_need_no_labels(kind, own, tmp_path):
    assert replace(own, **kind.unlabelled, classes=0).load(tmp_path).train.labels is None


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


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_the_classes_is_named_by_file_and_row(kind, own, tmp_path, colours, label):
    """Labels run from 0 to one below the number of classes, which 0 leaves unchecked."""
    kind.write(tmp_path / "test", colours[1], [0, label, 3])
    assert refusal(own, tmp_path) == (
        f"{tmp_path / 'test'}: row 1 of 'label' has label {label}; with classes: 4, labels are 0 to 3"
    )
    assert replace(own, classes=0).load(tmp_path).test.labels.tolist() == [0, label, 3]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train_examples": 8},
         "has 8 examples, but train_examples (8) and validation_examples (2) make 10; write train_examples: 6"),
        ({"validation_examples": 9}, "write fewer validation_examples"),
        ({"test_examples": 2}, "test: has 3 examples, but test_examples is 2; write test_examples: 3"),
    ],
)  # fmt: skip
def test_declared_counts_must_be_the_files(own, tmp_path, counts, message):
    """The message states the right number."""
    assert message in refusal(replace(own, **counts), tmp_path)


def test_a_changed_file_does_not_pass_for_the_old_one(kind, own, tmp_path, colours):
    """With its sha256 given, a file with other images of the same number is refused, with both digests."""
    digests = {f"{part}_sha256": hashlib.sha256((tmp_path / part).read_bytes()).hexdigest() for part in PARTS}
    sealed = replace(own, **digests)
    assert len(sealed.load(tmp_path).train) == TRAIN
    kind.write(tmp_path / "test", 255 - colours[1], LABELS[1])
    own.load(tmp_path)
    text = refusal(sealed, tmp_path)
    assert f"{tmp_path / 'test'}: has another content than the one to train or evaluate on" in text
    assert digests["test_sha256"] in text
    assert hashlib.sha256((tmp_path / "test").read_bytes()).hexdigest() in text


def test_a_missing_file_says_where_it_was_looked_for(own, tmp_path):
    """There is nothing to fetch, so the message does not advise it."""
    text = refusal(own, tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere" / "train") in text
    assert "--data" in text
    assert "fetch" not in text
    with pytest.raises(DataError, match="nothing to fetch"):
        own.fetch(tmp_path)


@pytest.mark.parametrize("path", ["/etc/images", "../images", "a/../../images", "", ".", "C:/images", "a\\b", "a\0b"])
@pytest.mark.parametrize("part", [0, 1])
def test_paths_stay_below_the_data_folder(kind, part, path):
    """A path that could lead out of it is refused before any file is opened."""
    option = kind.paths[part]
    with pytest.raises(ValueError, match=f"^{option} is .* it must be a file's path below the data folder"):
        replace(kind.configured, **{option: path})


def test_paths_that_are_the_same_are_the_same_dataset(kind):
    """What is written differently and means the same file makes no other trial."""
    assert replace(kind.configured, **{kind.paths[0]: ".//train"}) == kind.configured


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3, 32)}, "shape is .* channels, height and width"),
        ({"shape": (3, 0, 6)}, "shape is"),
        ({"shape": (3, 4.0, 6)}, "shape is"),
        ({"train_examples": 0}, "train_examples is 0; it must be 1 or more"),
        ({"test_examples": 0}, "test_examples is 0"),
        ({"validation_examples": -1}, "validation_examples is -1; it must be 0 or more"),
        ({"classes": -1}, "classes is -1"),
        ({"train_sha256": "abc"}, "train_sha256 is 'abc'; it must be 64 hexadecimal digits"),
        ({"test_sha256": "0" * 63}, "test_sha256 is"),
        ({"binarise": "thresold"}, "binarise is 'thresold'; choose one of none, threshold"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    """Each option that cannot be is named first."""
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(kind.configured, **options)


def test_classes_without_labels_are_refused(kind):
    with pytest.raises(ValueError, match=r"^classes is 4, but no labels are named"):
        replace(kind.configured, **kind.unlabelled)


def trial_on(dataset, **training):
    return Trial(
        dataset=dataset,
        architecture=configure_architecture("mlp", hidden=[16], latent_units=3),
        objective=Objective(likelihood="squared-error"),
        method=MultiRateVAE(0.01, 10.0),
        training=Training(**{"epochs": 2, "batch_size": 16, **training}),
        seed=0,
    )


def test_every_option_is_identity_and_survives_json(kind):
    """A list for the shape, as JSON has it, is the same dataset; another value of any option is another trial."""
    own = kind.configured
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
        **dict.fromkeys(kind.paths, "a"),
        **kind.others,
    }
    assert set(others) == {field.name for field in fields(own)}
    ids = {trial_on(replace(own, **{name: value})).trial_id for name, value in others.items()}
    assert len(ids | {trial.trial_id}) == len(others) + 1


def test_a_tiny_training_on_own_images(own, tmp_path, make_context):
    """Read, flipped, trained on and evaluated on its validation split."""
    trial = trial_on(replace(own, flip=True))
    evaluation = Evaluation(betas=(1.0,), split="validation")
    outcome = run_trial(trial, make_context(trial, evaluation=evaluation, load_data=lambda it: it.load(tmp_path)))
    assert outcome.state == "done", outcome.message


# Real images, where they are.


@dataclass(frozen=True)
class Real:
    """What a recipe reads: its file below the data folder, and what is known of the images."""

    recipe: str
    file: str
    shape: tuple[int, ...]
    planned_examples: int
    examples: tuple[int, int, int]
    classes: int
    means: list[float]
    tolerance: float


REAL = {
    "omniglot": Real(
        "omniglot-npz-short",
        "omniglot28/omniglot-small-28.npz",
        (1, 28, 28),
        3130,
        (3130, 500, 1210),
        242,
        [0.0805],
        5e-5,
    ),
    "cifar10": Real(
        "cifar10-jpeg-short",
        "cifar10-jpeg/train.parquet",
        (3, 32, 32),
        5000,
        (45_000, 5000, 10_000),
        10,
        [0.4913, 0.4821, 0.4465],
        1e-4,
    ),
}


@pytest.fixture(params=REAL)
def real(request):
    return REAL[request.param]


@pytest.fixture
def root(real):
    """The folder of real datasets, where it has the recipe's."""
    found = Path(os.environ.get("MRVAE_DATA", "data"))
    if not (found / real.file).is_file():
        pytest.skip(f"no {real.file} below {found}; set MRVAE_DATA to a folder that has it")
    return found


def planned(real):
    return [each.trial for each in plan(read_spec(RECIPES / f"{real.recipe}.yaml")).trials]


def test_the_recipe_plans_with_the_sizes_that_it_says(real):
    """One Multi-Rate VAE and two β-VAEs, of which that on CIFAR-10 takes the first of its images only."""
    trials = planned(real)
    assert len(trials) == 3
    assert trials[0].dataset.shape == real.shape
    assert trials[0].dataset.examples_per_epoch == real.planned_examples


def test_real_images_have_their_counts_and_means(real, root):
    """All are read by the recipe's options, each class as often as it should be."""
    dataset = replace(planned(real)[0].dataset, binarise="none", train_limit=0)
    data = dataset.load(root)
    assert tuple(len(data.split(name)) for name in dataset.splits) == real.examples
    trained = (data.train, data.validation)
    each = sum(real.examples[:2]) // real.classes
    assert torch.cat([part.labels for part in trained]).bincount().tolist() == [each] * real.classes
    assert data.test.labels.bincount().tolist() == [real.examples[2] // real.classes] * real.classes
    total = sum(part.pixels.sum((0, 2, 3), dtype=torch.int64) for part in trained)
    pixels = sum(real.examples[:2]) * real.shape[1] * real.shape[2] * 255
    assert (total.double() / pixels).tolist() == pytest.approx(real.means, abs=real.tolerance)


def learns(dataset, root, make_context):
    """Whether the loss of a small network falls on it."""
    trial = trial_on(dataset, epochs=20, learning_rate=1e-2)
    context = make_context(trial, load_data=lambda it: it.load(root))
    assert run_trial(trial, context).state == "done"
    name = "history.parquet"
    history = from_parquet(HistoryRow, context.store.trial(trial.trial_id).read(name), name)
    return history[-1].loss < 0.9 * history[0].loss


@pytest.mark.parametrize("real", ["omniglot"], indirect=True)
def test_real_drawings_train(real, root, make_context):
    assert learns(replace(planned(real)[0].dataset, train_limit=64), root, make_context)


@pytest.mark.parametrize("real", ["cifar10"], indirect=True)
def test_real_jpegs_train(real, root, tmp_path, make_context):
    """A part of the file, since all of it takes seconds to decode."""
    table = next(pq.ParquetFile(root / real.file).iter_batches(96))
    for part, rows in (("train", table.slice(0, 64)), ("test", table.slice(64, 32))):
        pq.write_table(pa.Table.from_batches([rows]), tmp_path / part)
    counts = {"train_examples": 64, "validation_examples": 0, "test_examples": 32}
    dataset = replace(KINDS["parquet"].configured, shape=real.shape, classes=10, flip=True, **counts)
    assert learns(dataset, tmp_path, make_context)
