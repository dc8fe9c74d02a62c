import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from workers.data.dataset import DataError
from workers.data.digits import Digits
from workers.data.resident import Images
from workers.measuring.dataset_classifier import ClassifierNetwork, Recipe, dataset_classifier
from workers.store.store import Folder

CPU = torch.device("cpu")
SHORT = Recipe(steps=5, batch_size=32)


def never():
    raise AssertionError("trained again")


def classify(train, test, cache, recipe=SHORT, check_stop=lambda: None):
    return dataset_classifier(train, test, Folder(cache), name="ours", device=CPU, check_stop=check_stop, recipe=recipe)


@pytest.fixture(scope="session")
def digits():
    return Digits().load(Path())


def stripes(labels, seed=0):
    """Return 1×8×8 images whose left half is bright where the label is the larger one, and their labels."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 100, (len(labels), 1, 8, 8), generator=random).to(torch.uint8)
    pixels[labels == labels.max(), :, :, :4] += 150
    return Images(pixels, labels)


def test_it_learns_the_digits(digits, tmp_path):
    """It has ten classes, and the accuracy is that of its predictions for the test images."""
    found = classify(digits.train, digits.test, tmp_path, Recipe(steps=150))
    assert found.test_accuracy > 0.9
    features, logits = found(digits.test.pixels / 255)
    assert (features.shape, logits.shape) == ((250, 128), (250, 10))
    assert (logits.argmax(1) == digits.test.labels).double().mean() == found.test_accuracy
    assert not features.requires_grad


def test_the_same_images_train_the_same_classifier(digits, tmp_path):
    """Whatever the number of threads is, which is left as it was, and the state of torch's own generator."""
    torch.manual_seed(1)
    first = classify(digits.train, digits.test, tmp_path / "one")
    torch.manual_seed(2)
    torch.set_num_threads(2)
    second = classify(digits.train, digits.test, tmp_path / "two")
    assert torch.get_num_threads() == 2
    assert first.name == second.name
    assert first.name.startswith("classifier-")
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_is_trained_once(digits, tmp_path):
    first = classify(digits.train, digits.test, tmp_path)
    again = classify(digits.train, digits.test, tmp_path, check_stop=never)
    assert (again.name, again.test_accuracy) == (first.name, first.test_accuracy)
    images = digits.test.pixels[:5] / 255
    assert torch.equal(first(images)[0], again(images)[0])


@pytest.mark.parametrize("change", ["training images", "training labels", "test images", "recipe"])
def test_another_set_or_recipe_is_another_classifier(digits, tmp_path, change):
    classify(digits.train, digits.test, tmp_path)
    train, test, recipe = digits.train, digits.test, SHORT
    if change == "training images":
        train = replace(train, pixels=255 - train.pixels)
    elif change == "training labels":
        train = replace(train, labels=train.labels.flip(0))
    elif change == "test images":
        test = test.first(100)
    else:
        recipe = replace(SHORT, learning_rate=0.1)
    with pytest.raises(AssertionError, match="trained again"):
        classify(train, test, tmp_path, recipe, check_stop=never)


def test_labels_are_any_whole_numbers(tmp_path):
    """Two classes, -3 and 70, in order: random ones are chosen, not the first ones."""
    labels = torch.tensor([-3, 70]).repeat_interleave(100)
    found = classify(stripes(labels), stripes(labels, seed=1), tmp_path, Recipe(steps=30, batch_size=32, examples=60))
    assert found.test_accuracy == 1
    assert found(torch.zeros(1, 1, 8, 8))[1].shape == (1, 2)


def test_a_class_that_training_has_not_is_a_mistake(tmp_path):
    train = stripes(torch.arange(200) % 2)
    test = Images(train.pixels, torch.full((200,), 5))
    assert classify(train, test, tmp_path).test_accuracy == 0


def test_without_test_labels_there_is_no_accuracy(tmp_path):
    train = stripes(torch.arange(200) % 2)
    assert classify(train, replace(train, labels=None), tmp_path).test_accuracy is None


def test_without_labels_there_is_no_classifier(digits, tmp_path):
    with pytest.raises(DataError, match=r"dataset 'ours' has no labels.*use the metric fid"):
        classify(replace(digits.train, labels=None), digits.test, tmp_path)
    with pytest.raises(DataError, match=r"dataset 'ours': 1,297 training examples.* all have the label 4"):
        classify(replace(digits.train, labels=torch.full((1297,), 4)), digits.test, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_training_can_be_stopped_and_leaves_nothing(digits, tmp_path):
    """The next training starts from the beginning and gives the same result."""
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        classify(digits.train, digits.test, tmp_path / "one", check_stop=stop)
    assert len(steps) == 3
    found = classify(digits.train, digits.test, tmp_path / "one")
    assert found.name == classify(digits.train, digits.test, tmp_path / "two").name


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 9), (3, 32, 32), (1, 64, 64)])
def test_images_of_any_size_are_taken(shape):
    """None is left larger than 7×7 before the layer of features."""
    network = ClassifierNetwork(shape, 4).eval()
    features, logits = network(torch.zeros(2, *shape))
    assert (features.shape, logits.shape) == ((2, 128), (2, 4))
    linear = next(layer for layer in network.features if isinstance(layer, torch.nn.Linear))
    assert linear.in_features <= 7 * 7 * 128
    assert math.isfinite(float(logits.sum().detach()))
