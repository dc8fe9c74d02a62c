"""Splits that stay on disk, against the same splits in memory: the same bits."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from workers.data import resident
from workers.data.dataset import ImageDataset
from workers.data.digits import Digits
from workers.data.prepared import prepared_array
from workers.data.resident import Images, MappedImages, prepare
from workers.data.split import ResidentData
from workers.running.run import run_trial
from workers.seeding import generator
from workers.store.store import Store
from workers.training.checkpoint import FINAL

CPU = torch.device("cpu")
BINARISATIONS = ("none", "threshold", "static", "dynamic")
SIZES = {"train": 45, "validation": 12, "test": 20}


@dataclass(frozen=True)
class Noise(ImageDataset):
    """Random images; only their preparation is used here."""

    name = "noise"
    shape = (3, 5, 6)
    train_examples = 45
    test_examples = 20


@pytest.fixture(scope="module")
def arrays():
    """Random images of each split."""
    random = np.random.default_rng(0)
    return {name: random.integers(0, 256, (size, 3, 5, 6), dtype=np.uint8) for name, size in SIZES.items()}


@pytest.fixture
def both(arrays, tmp_path, monkeypatch):
    """Return a function that gives the splits of a configuration in memory, and mapped from disk."""
    labels = {name: np.arange(size) for name, size in SIZES.items()}

    def make(dataset, **options) -> tuple[ResidentData, ResidentData]:
        mapped = {
            name: prepared_array(tmp_path, name, array.shape, lambda a=array: [a]) for name, array in arrays.items()
        }
        in_memory = prepare(dataset, {name: (array, labels[name]) for name, array in arrays.items()}, **options)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            # A small threshold and small blocks, so that these few images are as many.
            patch.setattr(resident, "LARGEST_RESIDENT", 0)
            patch.setattr(resident, "BLOCK", 7)
            warnings.simplefilter("error")
            return in_memory, prepare(
                dataset, {name: (array, labels[name]) for name, array in mapped.items()}, **options
            )

    return make


def batches(split, step=0):
    return [split.batch(indices, generator(CPU, 0, "step", step)) for indices in torch.randperm(len(split)).split(8)]


@pytest.mark.parametrize("limit", [0, 10])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("how", BINARISATIONS)
def test_mapped_and_resident_batches_are_the_same_bits(both, how, flip, limit):
    """Binarisation, flips, limits, first examples and evaluation, on a CPU."""
    dataset = Noise(binarise=how, train_limit=limit)
    in_memory, mapped = both(dataset, flip=flip)
    for name, size in SIZES.items():
        one, other = getattr(in_memory, name), getattr(mapped, name)
        assert type(one) is Images
        assert type(other) is MappedImages
        assert torch.equal(one.labels, other.labels)
        for change in (lambda it: it, lambda it: it.first(9), lambda it: it.to_evaluate(), lambda it: it.to(CPU)):
            torch.manual_seed(0)
            expected = batches(change(one))
            torch.manual_seed(0)
            found = batches(change(other))
            assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        assert len(one) == len(other) == (limit if limit and name == "train" else size)


def test_held_out_images_may_be_binarised_otherwise(both):
    """Training images are drawn at each use, and the others once."""
    for data in both(Noise(binarise="dynamic"), evaluated="static"):
        assert [data.train.dynamic, data.validation.dynamic, data.test.dynamic] == [True, False, False]
        assert set(data.test.pixels.unique().tolist()) == {0, 255}
        assert len(data.train.pixels.unique()) > 2
    static = both(Noise(binarise="static"))[0]
    assert torch.equal(static.test.pixels, data.test.pixels)


def test_a_small_split_of_a_prepared_array_is_read_into_memory(tmp_path, arrays):
    """Below the threshold, nothing stays on disk."""
    array = prepared_array(tmp_path, "train", arrays["train"].shape, lambda: [arrays["train"]])
    data = prepare(Noise(), dict.fromkeys(SIZES, (array, None)))
    assert type(data.train) is Images
    assert not np.shares_memory(data.train.pixels.numpy(), array)


def test_a_part_of_a_prepared_array_is_not_binarised(tmp_path, arrays):
    """It would be kept under the name of the whole."""
    array = prepared_array(tmp_path, "train", arrays["train"].shape, lambda: [arrays["train"]])
    with pytest.raises(ValueError, match=r"40 images are a part of .*train.npy"):
        prepare(Noise(binarise="static"), dict.fromkeys(SIZES, (array[:40], None)))


def test_binarised_images_are_prepared_once(both, tmp_path):
    """Static ones differ by split, and have a file each."""
    both(Noise(binarise="static"))
    both(Noise(binarise="threshold"))
    names = {path.stem for path in (tmp_path / ".prepared").glob("*.npy")}
    assert names == {
        *SIZES,
        *(f"{name}-threshold" for name in SIZES),
        "train-static-0",
        "validation-static-1",
        "test-static-2",
    }
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".prepared").glob("*.npy")}
    both(Noise(binarise="static"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_pixels_stay_on_disk_whatever_the_device(both):
    """Moving a mapped split moves its batches alone; a meta device shows it without a GPU."""
    mapped = both(Noise())[1]
    moved = mapped.to(torch.device("meta"))
    assert moved.train.device == torch.device("meta")
    assert moved.train.pixels.device == CPU
    assert moved.train.first(3).device == moved.split("test").device == torch.device("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("how", BINARISATIONS)
def test_batches_on_a_gpu_are_the_same_mapped_or_resident(both, how):
    """Flips and draws happen on the device, after the copy."""
    device = torch.device("cuda")
    in_memory, mapped = (data.to(device) for data in both(Noise(binarise=how), flip=True))
    for step in range(20):
        indices = torch.randperm(SIZES["train"])[:16]
        one, other = (data.train.batch(indices, generator(device, 0, "step", step)) for data in (in_memory, mapped))
        assert one.device.type == other.device.type == "cuda"
        assert torch.equal(one, other)


def test_a_trial_on_mapped_images_ends_with_the_same_weights(make_trial, make_context, tmp_path, monkeypatch):
    """Training and evaluation cannot tell where the pixels are."""
    trial = make_trial()
    trial = replace(trial, dataset=Digits(binarise="dynamic", train_limit=256))
    in_memory = trial.dataset.load(Path())
    parts = {name: getattr(in_memory, name).pixels.numpy() for name in SIZES}
    arrays = {name: prepared_array(tmp_path, name, part.shape, lambda p=part: [p]) for name, part in parts.items()}
    monkeypatch.setattr(resident, "LARGEST_RESIDENT", 0)
    mapped = prepare(trial.dataset, {name: (array, None) for name, array in arrays.items()})
    assert type(mapped.train) is MappedImages
    weights = []
    for number, data in enumerate((in_memory, mapped)):
        context = make_context(trial, store=Store(tmp_path / str(number)), load_data=lambda _, data=data: data)
        outcome = run_trial(trial, context)
        assert outcome.state == "done", outcome.message
        weights.append(safetensors.torch.load(context.store.trial(trial.trial_id).read(FINAL)))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
