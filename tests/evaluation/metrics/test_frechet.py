import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from evaluation.metrics.frechet import FeatureMoments, frechet_distance

FEATURES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.just(3)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


def gathered(batches):
    moments = FeatureMoments.empty()
    for batch in batches:
        moments = moments.update(batch)
    return moments


def gaussian(mean, covariance, examples=1001):
    """Return the moments of examples that have exactly this mean and covariance."""
    return FeatureMoments(examples, np.array(mean, float), np.array(covariance, float) * (examples - 1))


def random_covariance(seed, features):
    root = np.random.default_rng(seed).standard_normal((features, features + 3))
    return root @ root.T


def by_square_root(one, other):
    """Return the distance of two arrays of features as it is commonly computed: np.cov and sqrtm of the product."""
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    shift = one.mean(axis=0) - other.mean(axis=0)
    return shift @ shift + np.trace(first + second - 2 * root.real)


def test_gaussians_with_independent_features_have_a_closed_form():
    """Σ (μ₁ - μ₂)² + (σ₁ - σ₂)²: 3² + 4² from the means, (2 - 1)² + (3 - 5)² + 0 from the deviations."""
    one, other = gaussian([0, 0, 1], np.diag([4, 9, 1])), gaussian([3, 4, 1], np.diag([1, 25, 1]))
    assert frechet_distance(one, other).value == pytest.approx(30, rel=1e-12)


def test_two_features_have_a_closed_form_whatever_their_correlation():
    """Of 2×2 matrices, tr (Σ₁ Σ₂)^½ is √(tr Σ₁Σ₂ + 2 √det Σ₁Σ₂), also where they do not commute."""
    one, other = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.6], [-0.6, 3.0]])
    product = one @ other
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = 5.0 + np.trace(one + other) - 2 * root
    found = frechet_distance(gaussian([1, 0], one), gaussian([0, 2], other))
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert (found.examples, found.reference_examples, found.features) == (1001, 1001, 2)


def test_it_is_what_numpy_and_a_matrix_square_root_give():
    """The common way, on features as skewed and correlated as those of a network."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((64, 64))
    one = np.maximum(random.standard_normal((300, 64)) @ mixing, 0)
    other = np.maximum(random.standard_normal((400, 64)) @ mixing * 1.1 + 0.3, 0)
    found = frechet_distance(gathered(np.split(one, 3)), gathered(np.split(other, 5)))
    assert found.value == pytest.approx(by_square_root(one, other), rel=1e-6)


def test_it_is_what_torch_fidelity_gives():
    random = torch.Generator().manual_seed(0)
    one, other = (torch.randn(500, 32, generator=random).abs() * scale for scale in (1.0, 1.2))
    statistics = [fid_features_to_statistics(each.double()) for each in (one, other)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(gathered([one]), gathered([other])).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("examples", "features"), [(2000, 64), (100, 256)], ids=["enough", "fewer than features"])
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_it_is_what_pytorch_fid_gives(examples, features):
    """On the same features, float32 as a network gives them; its square root is of a matrix that is not symmetric."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((features, features)) / features**0.5
    one = (random.gamma(0.5, size=(examples, features)) @ mixing).astype(np.float32)
    other = (1.05 * random.gamma(0.5, size=(examples, features)) @ mixing).astype(np.float32)
    moments = ((each.mean(axis=0), np.cov(each, rowvar=False)) for each in (one, other))
    expected = calculate_frechet_distance(*(part for pair in moments for part in pair))
    found = frechet_distance(*(gathered(np.array_split(each, 7)) for each in (one, other)))
    assert found.value == pytest.approx(expected, rel=1e-4)


def test_tensors_of_float32_lose_nothing_in_the_sums():
    features = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) + 1000
    found = gathered(features.split(50))
    np.testing.assert_allclose(found.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-10)


@given(FEATURES, st.data())
@settings(max_examples=50)
def test_batches_and_their_order_change_nothing(features, data):
    """Any split of any permutation has the mean and the covariance that numpy has of the whole."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(features)), max_size=4)))
    order = data.draw(st.permutations(range(len(features))))
    found = gathered(np.split(features[list(order)], cuts))
    assert found.examples == len(features)
    np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-8)


@given(FEATURES, FEATURES, FEATURES)
@settings(max_examples=30)
def test_the_order_of_merging_changes_nothing(first_part, second_part, third_part):
    parts = first_part, second_part, third_part
    one, two, three = (FeatureMoments.empty().update(part) for part in parts)
    first, second = one.merge(two).merge(three), three.merge(one.merge(two))
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(first.scatter, second.scatter, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(first.covariance, np.cov(np.concatenate(parts), rowvar=False), rtol=1e-9, atol=1e-8)


def test_merging_empty_changes_nothing():
    moments = FeatureMoments.empty().update(np.array([[1.0], [2.0]]))
    assert moments.merge(FeatureMoments.empty()) is moments
    assert FeatureMoments.empty().merge(moments) is moments
    assert moments.update(np.zeros((0, 1))) is moments


def test_a_far_mean_costs_no_precision():
    """Σxxᵀ would lose a variance of 1e-4 around a mean of 1e6; the scatter does not."""
    features = 1e6 + 0.01 * np.tile([[-1.0], [1.0]], (500, 1))
    found = gathered(np.split(features, 10)).covariance[0, 0]
    assert found == pytest.approx(1e-4 * 1000 / 999, rel=1e-6)


@pytest.mark.parametrize("examples", [200, 10])
def test_a_set_is_at_no_distance_from_itself(examples):
    """Also where its covariance is singular."""
    features = np.random.default_rng(1).standard_normal((examples, 20))
    one, other = gathered([features]), gathered(np.split(features[::-1], 2))
    assert 0 <= frechet_distance(one, other).value < 1e-6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_rotating_both_sets_changes_nothing_and_scaling_is_squared(seed):
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.standard_normal((4, 4)))
    means, covariances = random.standard_normal((2, 4)), [random_covariance(seed + each, 4) for each in (0, 1)]
    plain = frechet_distance(*map(gaussian, means, covariances)).value
    turned = [
        gaussian(3 * rotation @ m, 9 * rotation @ c @ rotation.T) for m, c in zip(means, covariances, strict=True)
    ]
    assert frechet_distance(*turned).value == pytest.approx(9 * plain, rel=1e-9)


@given(st.integers(0, 2**32 - 2))
@settings(max_examples=20)
def test_it_is_the_same_from_both_sides(seed):
    one, other = (gaussian([side, 0, 0, 1], random_covariance(seed + side, 4)) for side in (0, 1))
    there, back = frechet_distance(one, other).value, frechet_distance(other, one).value
    assert there == pytest.approx(back, rel=1e-9)


def test_constant_features_are_a_point():
    """Its distance from a Gaussian is |μ₁ - μ₂|² + tr Σ."""
    point = gathered([np.full((50, 2), 2.0)])
    assert frechet_distance(point, gaussian([0, 0], np.eye(2))).value == pytest.approx(10)
    assert frechet_distance(gaussian([0, 0], np.eye(2)), point).value == pytest.approx(10)


@pytest.mark.parametrize(("sizes", "warned"), [((9, 9), False), ((8, 9), True), ((9, 8), True), ((9, 3), True)])
def test_no_more_examples_than_features_are_warned_of(sizes, warned):
    """Of 8 examples with 8 features the covariance is singular."""
    random = np.random.default_rng(0)
    found = frechet_distance(*(gathered([random.standard_normal((size, 8))]) for size in sizes))
    assert bool(found.warning) == warned
    if warned:
        assert found.warning.startswith(f"{min(sizes)} examples are too few for 8 features")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_feature_that_is_no_number_is_an_error(value):
    """It would make the whole distance none; the message says where it is."""
    batch = np.zeros((5, 3))
    batch[3, 1] = value
    with pytest.raises(ValueError, match=r"batch of features: row 3, column 1 \(from 0\) is (nan|inf)"):
        gathered([np.zeros((5, 3)), batch])


def test_features_of_two_extractors_are_not_mixed():
    one, other = gathered([np.zeros((3, 2))]), gathered([np.zeros((3, 4))])
    with pytest.raises(ValueError, match="2 and 4 features cannot be compared"):
        one.merge(other)
    with pytest.raises(ValueError, match="2 and 4 features cannot be compared"):
        one.update(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="4 and 2 features cannot be compared"):
        frechet_distance(one, other)


def test_one_example_has_no_covariance():
    one, two = gathered([np.zeros((1, 2))]), gathered([np.zeros((2, 2))])
    for pair in ((one, two), (two, one)):
        with pytest.raises(ValueError, match="needs 2 examples; there are 1"):
            frechet_distance(*pair)
