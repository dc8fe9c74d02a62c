"""Real models and real digits; the network that features are taken from is a tiny one, or the digits' classifier."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.metrics.catalogue import CATALOGUE
from evaluation.metrics.frechet import FeatureMoments, frechet_distance
from evaluation.metrics.inception_score import ClassPredictions
from evaluation.metrics.kernel_distance import kernel_distance
from workers.data.digits import Digits
from workers.measuring.dataset_classifier import Recipe, dataset_classifier
from workers.measuring.generation_metrics import GENERATION_METRICS
from workers.measuring.image_quality import generated, image_quality, real_images_of
from workers.store.store import Folder
from workers.training.state import TrainingState, build_model, train
from workers.trial import BetaVAE

CPU = torch.device("cpu")


def go_on():
    """Never ask to stop."""


@dataclass
class Tiny:
    """Four sums over quarters of the image, and three of them as logits; it counts the images that it was given."""

    name: str = "tiny"
    kind: str = "tiny"
    batch_size: int = 30
    test_accuracy: float | None = None
    seen: list[int] = field(default_factory=list)

    def preparation(self, channels):
        return f"{channels} channels"

    def __call__(self, images):
        self.seen.append(len(images))
        features = torch.nn.functional.avg_pool2d(images, 4).flatten(1)
        return features, 5 * features[:, :3]


@pytest.fixture
def digits_test(digits_data):
    return digits_data.split("test")


@pytest.fixture
def make_reference(tmp_path, digits_test):
    """Return references in a cache of the test's own; keywords replace what is given."""

    def make(extractor=None, images=digits_test, check_stop=go_on):
        folder = Folder(tmp_path / "cache")
        return real_images_of(images, "test", extractor or Tiny(), folder, device=CPU, check_stop=check_stop)

    return make


def quality(trial, model, betas, reference, examples=95):
    return image_quality(trial, model, betas, reference, examples=examples, device=CPU, check_stop=go_on)


def features_of(batches):
    return tuple(torch.cat(each) for each in zip(*map(Tiny(), batches), strict=True))


def test_the_reference_is_the_features_of_the_real_images(make_reference, digits_test):
    reference = make_reference()
    features, _ = Tiny()(digits_test.pixels / 255)
    np.testing.assert_allclose(reference.features.first, features)
    np.testing.assert_allclose(reference.features.moments.mean, features.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(reference.features.moments.covariance, np.cov(features.double().T), rtol=1e-6)
    assert reference.features.moments.examples == 250


def test_the_result_is_that_of_the_generated_images(make_trial, make_reference, digits_test):
    """Batches and blocks of them leave no image out and count none twice."""
    trial = make_trial()
    model = build_model(trial)
    features, logits = features_of(generated(trial, model, (0.5,), 95, 30, CPU))
    real, _ = Tiny()(digits_test.pixels / 255)
    found = quality(trial, model, (0.5,), make_reference())
    moments = [FeatureMoments.empty().update(each) for each in (features, real)]
    assert len(features) == 95
    assert found.frechet.value == pytest.approx(frechet_distance(*moments).value, rel=1e-5)
    assert (found.frechet.examples, found.frechet.reference_examples, found.frechet.features) == (95, 250, 4)
    assert found.kernel.value == pytest.approx(kernel_distance(features, real).value, rel=1e-5)
    assert found.score.value == pytest.approx(ClassPredictions.empty(10).update(logits).score().value, rel=1e-6)
    assert (found.extractor, found.preparation, found.reference_split) == ("tiny", "1 channels", "test")


def test_more_features_than_one_block_are_all_counted(make_trial, make_reference):
    """Three thousand images, in blocks of a thousand."""
    trial = make_trial()
    model = build_model(trial)
    features, _ = features_of(generated(trial, model, (0.5,), 3010, 30, CPU))
    found = quality(trial, model, (0.5,), make_reference(), examples=3010)
    moments = FeatureMoments.empty().update(features)
    expected = frechet_distance(moments, make_reference().features.moments)
    assert found.frechet.value == pytest.approx(expected.value, rel=1e-6)
    assert found.frechet.examples == found.kernel.examples == found.score.examples == 3010


def test_every_beta_sees_the_same_latents(make_trial):
    """A plain model, which has no input for β, generates the same images at each; a multi-rate one does not."""
    for method, same in ((BetaVAE(1.0), True), (None, False)):
        trial = make_trial(method)
        model = build_model(trial)
        low, high = (torch.cat(list(generated(trial, model, (beta,), 40, 30, CPU))) for beta in (0.05, 5.0))
        assert torch.equal(low, high) == same


def test_seeds_and_batches_have_other_latents(make_trial):
    trial = make_trial(BetaVAE(1.0))
    model = build_model(trial)
    first, second = generated(trial, model, (1.0,), 60, 30, CPU)
    other = next(generated(make_trial(BetaVAE(1.0), seed=1), model, (1.0,), 60, 30, CPU))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_training_brings_images_nearer_to_the_real_ones(make_trial, make_reference, digits_data, tmp_path):
    """By the features of the digits' own classifier, which the result names with its accuracy."""
    trial = make_trial(BetaVAE(0.5), epochs=60, learning_rate=1e-2)
    state = TrainingState(trial, digits_data.train, CPU)
    classifier = dataset_classifier(
        digits_data.train,
        digits_data.test,
        Folder(tmp_path / "cache"),
        name="digits",
        device=CPU,
        check_stop=go_on,
        recipe=Recipe(steps=100),
    )
    reference = make_reference(classifier)
    before = quality(trial, state.model, (0.5,), reference, examples=300)
    train(state, after_step=lambda: False, after_epoch=lambda: state.finish_epoch(0.0))
    after = quality(trial, state.model, (0.5,), reference, examples=300)
    assert after.frechet.value < before.frechet.value / 2
    assert after.kernel.value < before.kernel.value / 2
    assert after.score.value > before.score.value + 1
    assert after.extractor == classifier.name
    assert after.test_accuracy == classifier.test_accuracy > 0.8
    assert after.preparation == "none"


def test_only_inception_s_numbers_have_its_names(make_trial, make_reference):
    trial = make_trial()
    model = build_model(trial)
    found = quality(trial, model, (0.5,), make_reference())
    numbers = [found.frechet.value, found.kernel.value, found.score.value]
    names = {
        "tiny": ["frechet_tiny", "kernel_tiny", "score_tiny"],
        "classifier": ["frechet_classifier", "kernel_classifier", "score_classifier"],
        "inception": ["fid", "kid", "inception_score"],
    }
    for kind, expected in names.items():
        columns = replace(found, kind=kind).columns()
        assert [columns[name] for name in expected] == numbers


@pytest.mark.parametrize(("metric", "kind"), GENERATION_METRICS.items())
def test_the_columns_are_those_of_the_catalogue(metric, kind, make_trial, make_reference):
    trial = make_trial()
    found = quality(trial, build_model(trial), (0.5,), make_reference())
    found = replace(found, kind=kind, test_accuracy=0.9 if kind == "classifier" else None)
    assert set(found.columns()) == {column.column for column in CATALOGUE[metric].columns}


def test_real_images_are_looked_at_once(make_reference):
    first = Tiny()
    made = make_reference(first)
    assert first.seen == [30] * 8 + [10]
    again = Tiny()
    kept = make_reference(again)
    assert again.seen == []
    np.testing.assert_array_equal(kept.features.moments.scatter, made.features.moments.scatter)
    np.testing.assert_array_equal(kept.features.first, made.features.first)


@pytest.mark.parametrize("change", ["extractor", "fewer", "content"])
def test_other_images_or_another_network_are_looked_at_again(make_reference, digits_test, change):
    make_reference()
    extractor, images = Tiny(name="other" if change == "extractor" else "tiny"), digits_test
    if change == "fewer":
        images = images.first(100)
    if change == "content":
        images = replace(images, pixels=images.pixels.flip(-1))
    make_reference(extractor, images)
    assert sum(extractor.seen) == len(images)


def test_images_that_are_binarised_anew_are_the_same_for_every_trial(make_reference, tmp_path):
    """They are drawn from a seed of their own."""
    images = Digits(binarise="dynamic").load(Path()).split("test")
    first = make_reference(images=images)
    elsewhere = real_images_of(images, "test", Tiny(), Folder(tmp_path / "two"), device=CPU, check_stop=go_on)
    np.testing.assert_array_equal(first.features.first, elsewhere.features.first)
    grey, _ = Tiny()(images.pixels / 255)
    assert not np.allclose(first.features.first, grey)


def test_a_diverged_model_has_no_quality(make_trial, make_reference):
    """One weight that is no number: an error, and no row without meaning."""
    trial = make_trial()
    model = build_model(trial)
    with torch.no_grad():
        next(model.decoder.parameters()).view(-1)[0] = math.nan
    with pytest.raises(ValueError, match=r"batch of features: row 0, column 0 \(from 0\) is nan; the model has"):
        quality(trial, model, (0.5,), make_reference())


def test_too_few_images_are_refused(make_trial, make_reference, digits_test):
    trial = make_trial()
    with pytest.raises(ValueError, match="9 generated images are too few to measure; take 10 or more"):
        quality(trial, build_model(trial), (0.5,), make_reference(), examples=9)
    with pytest.raises(ValueError, match="1 images of the test split have no covariance"):
        make_reference(images=digits_test.first(1))


def test_it_can_be_stopped_between_batches(make_trial, make_reference):
    """A reference that was not finished is not kept."""
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    extractor, whole = Tiny(), Tiny()
    with pytest.raises(InterruptedError):
        make_reference(extractor, check_stop=stop)
    assert len(extractor.seen) == 2
    reference = make_reference(whole)
    assert sum(whole.seen) == 250
    calls.clear()
    trial = make_trial()
    with pytest.raises(InterruptedError):
        image_quality(trial, build_model(trial), (0.5,), reference, examples=95, device=CPU, check_stop=stop)
