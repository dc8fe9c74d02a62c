"""Drawn sprites: their grid of factors, what each factor does to a picture, and the options."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.architectures.tcvae_mlp import TCVAEMLP
from workers.data import resident
from workers.data.dataset import DataError
from workers.data.generated.sprites import HEART_RADIUS, SHAPES, SMALLEST_SIDE, Sprites, in_ellipse, in_heart, in_square
from workers.running.run import run_trial
from workers.seeding import generator
from workers.trial import MultiRateVAE, Objective, Training, Trial

SQUARE, ELLIPSE, HEART = range(3)
SMALL = Sprites(scales=2, orientations=4, positions=3, side=24)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SMALL.load(tmp_path_factory.mktemp("unused"))


def drawn(dataset, **factors):
    """Return one picture (side, side) in 0 and 1; factors that are not named are 0."""
    row = [factors.get(name, 0) for name in dataset.factor_names]
    return dataset.draw(np.array([row]))[0, 0] // 255


def centroid(picture):
    """Return (x, y) of the ink, in pixels."""
    y, x = np.nonzero(picture)
    return x.mean() + 0.5, y.mean() + 0.5


def test_every_combination_of_factors_is_there_once(small):
    """The grid is whole, the label is the shape, and train and test are the same pictures in the same order."""
    rows = np.ravel_multi_index(tuple(small.test.factors.T.numpy()), SMALL.factor_sizes)
    assert sorted(rows) == list(range(3 * 2 * 4 * 3 * 3))
    assert torch.equal(small.test.labels, small.test.factors[:, 0])
    assert torch.equal(small.train.pixels, small.test.pixels)
    assert torch.equal(small.train.factors, small.test.factors)
    assert [len(small.split(name)) for name in ("train", "validation", "test")] == [216, 0, 216]
    assert (SMALL.train_examples, SMALL.test_examples, SMALL.splits) == (216, 216, ("train", "test"))


def test_pictures_are_those_of_their_factors_in_black_and_white(small):
    """Whatever the blocks in which they were drawn."""
    for number in (0, 100, 215):
        factors = dict(zip(SMALL.factor_names, small.test.factors[number].tolist(), strict=True))
        assert np.array_equal(small.test.pixels[number, 0].numpy(), 255 * drawn(SMALL, **factors))
    batch = small.train.batch(torch.arange(216), generator(torch.device("cpu"), 0, "step", 0))
    assert set(batch.unique().tolist()) == {0.0, 1.0}
    assert SMALL.is_binary


def test_limits_keep_a_mixture_of_all_factors(small, tmp_path):
    """The order is shuffled once: the first examples are always the same, and are no corner of the grid."""
    part = Sprites(scales=2, orientations=4, positions=3, side=24, train_limit=60).load(tmp_path)
    assert torch.equal(part.train.pixels, small.train.pixels[:60])
    assert torch.equal(part.train.factors, small.train.factors[:60])
    assert len(part.test) == 216
    for factor, size in enumerate(SMALL.factor_sizes):
        assert len(part.train.factors[:, factor].unique()) == size


def test_the_pictures_are_the_same_on_every_machine(small):
    """Golden digest of the pixels and their order."""
    digest = hashlib.sha256(small.test.pixels.numpy().tobytes()).hexdigest()
    assert digest == "a4fa24fcb4f5f8fa4338c268c2cf91227a9c5b3a6320a9c676dbc7f042a037cb"


@pytest.mark.parametrize("shape", range(3))
def test_areas_are_those_of_the_shapes(shape):
    """On a fine canvas the share of white pixels is the area: 2 of the square, π/2 of the ellipse, of a radius of 1."""
    area = {SQUARE: 2.0, ELLIPSE: np.pi / 2, HEART: 3.6619725 / HEART_RADIUS**2}[shape]
    for scale, radius in ((0, 0.5), (1, 1.0)):
        fine = Sprites(scales=2, orientations=16, positions=1, side=1024)
        picture = drawn(fine, shape=shape, scale=scale, orientation=1)
        assert picture.sum() / 256**2 == pytest.approx(area * radius**2, rel=1e-3)


@pytest.mark.parametrize("is_inside", SHAPES)
def test_shapes_reach_the_unit_circle_and_no_farther(is_inside):
    """So that the largest sprite reaches a quarter of the image from its centre, however it is turned."""
    angle = np.linspace(0, 2 * np.pi, 100_000)
    assert is_inside(0.999 * np.cos(angle), 0.999 * np.sin(angle)).any()
    assert not is_inside(1.0001 * np.cos(angle), 1.0001 * np.sin(angle)).any()


def test_points_are_inside_or_not_by_the_formula():
    """Corners of the square, ends of the ellipse, and the cusp, the tip and the lobes of the heart."""
    points = np.array([[0.7, 0.7], [0.71, 0.0], [0.99, 0.0], [0.0, 0.49], [0.0, 0.51]]).T
    assert in_square(*points).tolist() == [True, False, False, True, True]
    assert in_ellipse(*points).tolist() == [False, True, True, True, False]
    heart = np.array([[0.0, 0.99], [0.0, 1.01], [0.0, -0.99], [0.0, -1.01], [0.6, 1.1], [-0.6, 1.1], [1.15, 0]]).T
    assert in_heart(*(heart / HEART_RADIUS)).tolist() == [True, False, True, False, True, True, False]


sprites = st.builds(
    Sprites,
    scales=st.integers(1, 4),
    orientations=st.integers(1, 9),
    positions=st.integers(1, 5),
    side=st.integers(SMALLEST_SIDE, 40),
)


@settings(max_examples=40, deadline=None)
@given(dataset=sprites, data=st.data())
def test_every_sprite_is_seen_and_whole(dataset, data):
    """White is only what is at most the radius from the place that the factors say, and there is some."""
    row = [data.draw(st.integers(0, size - 1)) for size in dataset.factor_sizes]
    factors = dict(zip(dataset.factor_names, row, strict=True))
    picture = drawn(dataset, **factors)
    reach = dataset.side / 4
    place = [np.linspace(reach, dataset.side - reach, dataset.positions)[factors[axis]] for axis in "xy"]
    radius = reach * np.linspace(0.5, 1, dataset.scales)[factors["scale"]]
    y, x = np.nonzero(picture)
    distance = np.hypot(x + 0.5 - place[0], y + 0.5 - place[1])
    assert len(distance) > 0
    assert distance.max() <= radius * (1 + 1e-8)
    # With this distance from every edge, no sprite is cut.
    assert reach - 1e-9 <= min(place) <= max(place) <= dataset.side - reach + 1e-9


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize(("moved", "axis"), [("x", 0), ("y", 1)])
def test_moving_a_sprite_moves_its_ink(shape, moved, axis):
    """Along its own axis, to the right or down by equal steps, and not along the other."""
    dataset = Sprites(scales=2, orientations=3, positions=8)
    places = [centroid(drawn(dataset, shape=shape, scale=1, orientation=1, **{moved: step})) for step in range(8)]
    steps = np.diff(places, axis=0)
    assert steps[:, axis] == pytest.approx(32 / 7, abs=0.3)
    assert steps[:, 1 - axis] == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("shape", range(3))
def test_a_larger_scale_has_more_ink(shape):
    """In proportion to its square."""
    dataset = Sprites(scales=6, orientations=16, positions=3)
    ink = [drawn(dataset, shape=shape, scale=scale, orientation=1, x=1, y=1).sum() for scale in range(6)]
    assert np.all(np.diff(ink) > 0)
    assert ink[-1] / ink[0] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("shape", "turn"), [(SQUARE, 1), (ELLIPSE, 2), (HEART, 4)])
def test_pictures_repeat_after_the_turn_that_leaves_their_shape_alone(shape, turn):
    """A square after 90°, an ellipse after 180°, a heart after 360° only."""
    dataset = Sprites(scales=2, orientations=4, positions=4, side=32)
    pictures = [drawn(dataset, shape=shape, scale=1, orientation=step, x=1, y=2) for step in range(4)]
    same = [step for step in range(1, 4) if np.array_equal(pictures[0], pictures[step])]
    assert same == list(range(turn, 4, turn))


def test_pictures_that_are_no_turned_copies_differ():
    """No two combinations give the same picture but by the symmetry of square and ellipse, which is exact.

    Some outlines of this grid pass through centres of pixels.
    """
    dataset = Sprites(scales=3, orientations=8, positions=3)
    factors = dataset.factors_of(np.arange(dataset.train_examples))
    digests = [hashlib.sha256(each.tobytes()).digest() for each in dataset.draw(factors)]
    period = np.array([2, 4, 8])[factors[:, 0]]
    distinct = np.unique(np.column_stack([factors[:, [0, 1, 3, 4]], factors[:, 2] % period]), axis=0)
    assert len(set(digests)) == len(distinct) == (2 + 4 + 8) * 3 * 3 * 3


def test_a_quarter_turn_is_counterclockwise():
    """A heart's tip, which points down, points to the right after it."""
    dataset = Sprites(scales=1, orientations=4, positions=1)
    upright, turned = (drawn(dataset, shape=HEART, orientation=step)[:32, :32] for step in (0, 1))
    assert np.array_equal(turned, np.rot90(upright))
    assert centroid(upright)[1] < 16


def test_large_grids_are_drawn_into_a_file_and_mapped(small, tmp_path, monkeypatch):
    """The same pictures, in the same order, as those that are in memory."""
    monkeypatch.setattr(resident, "LARGEST_RESIDENT", 1000)
    mapped = SMALL.load(tmp_path)
    assert isinstance(mapped.train, resident.MappedImages)
    assert torch.equal(mapped.test.pixels, small.test.pixels)
    assert torch.equal(mapped.test.factors, small.test.factors)
    assert len(list((tmp_path / ".prepared").glob("sprites-2-4-3-24-*.npy"))) == 1


def test_planning_needs_neither_torch_nor_numpy():
    """Counts, shapes and checks follow from the options."""
    program = """
import sys
from workers.data.published.dsprites import DSprites
from workers.data.generated.sprites import Sprites
assert Sprites().train_examples == DSprites().test_examples == 737_280
assert Sprites().factor_sizes == (*DSprites().factor_sizes, 1) and Sprites().shape == DSprites().shape == (1, 64, 64)
assert Sprites(positions=2, train_limit=5).examples_per_epoch == 5
assert not {"torch", "numpy"} & set(sys.modules), "torch or numpy was imported"
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": 0}, "scales is 0; it must be a whole number, 1 or more"),
        ({"orientations": -1}, "orientations is -1"),
        ({"positions": 1.5}, "positions is 1.5"),
        ({"side": 15}, "side is 15; it must be 16 or more"),
        ({"binarise": "dynamic"}, "binarise is 'dynamic', but every pixel of sprites is 0 or 1 already; remove it"),
        ({"binarise": "tresh"}, "binarise is 'tresh'; choose one of none, threshold"),
        ({"train_limit": -1}, "train_limit is -1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """Each message begins with the option."""
    with pytest.raises(ValueError, match=f"^{message}"):
        Sprites(**options)


def test_there_is_nothing_to_fetch(tmp_path):
    with pytest.raises(DataError, match="nothing to fetch"):
        Sprites().fetch(tmp_path)
    assert Sprites().locate(tmp_path) == []


def test_a_multi_rate_training_with_total_correlation_on_sprites(small, make_context):
    """Drawn, trained on with β-TCVAE's network and objective, and evaluated, on a part of the pictures."""
    trial = Trial(
        dataset=Sprites(scales=2, orientations=4, positions=3, side=24, train_limit=128),
        architecture=TCVAEMLP(latent_units=3, hidden=[16, 16], decoder_hidden=[16, 16]),
        objective=Objective(name="beta-tcvae"),
        method=MultiRateVAE(0.1, 10.0, encoder_gate="double-sigmoid"),
        training=Training(epochs=2, batch_size=64),
        seed=0,
    )
    outcome = run_trial(trial, make_context(trial, load_data=lambda _: small))
    assert outcome.state == "done", outcome.message


def test_colours_paint_the_same_sprites_in_red_green_and_blue():
    """A white sprite is drawn as without colours; a yellow one has red and green, and no blue."""
    plain, coloured = Sprites(side=16, positions=2), Sprites(side=16, positions=2, colours=5)
    assert (plain.shape, coloured.shape) == ((1, 16, 16), (3, 16, 16))
    factors = np.array([[2, 1, 3, 1, 0, 0]])
    (white,) = plain.draw(factors)
    assert np.array_equal(coloured.draw(factors)[0], np.repeat(white, 3, axis=0))
    yellow = coloured.draw(np.array([[2, 1, 3, 1, 0, 4]]))[0]
    assert np.array_equal(yellow, np.concatenate([white, white, np.zeros_like(white)]))
    assert coloured.train_examples == 5 * plain.train_examples


def test_there_are_seven_colours():
    with pytest.raises(ValueError, match="colours is 8; there are 7"):
        Sprites(colours=8)
