"""Latent traversals in a report: what is refused, the data behind the slider, and what the page has room for."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Pictures, Traversals
from evaluation.report.figures import pictures
from evaluation.report.figures.pictures import picture_data, sprite
from evaluation.report.rendering.html import render_html

RANDOM = np.random.default_rng(0)


def traversals(betas=((1.0,),), units=2, values=3):
    images = RANDOM.integers(0, 256, (len(betas), units, values, 1, 4, 5), dtype=np.uint8)
    ranked = np.tile(np.arange(units)[::-1], (len(betas), 1))
    variances = ranked / 4 + np.array(betas).mean(1, keepdims=True)
    return Traversals(tuple(betas), ranked, variances, tuple(np.linspace(-2.5, 2.5, values)), images)


def shown(betas=((1.0,),), **changes):
    originals = np.zeros((2, 1, 4, 5), np.uint8)
    stack = np.zeros((len(betas), *originals.shape), np.uint8)
    return Pictures(tuple(betas), originals, stack, stack, **{"traversals": traversals(betas), **changes})


def decoded(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))))


@pytest.fixture
def trials(build):
    single, low, high = build.straight_pair()
    return [
        replace(single, pictures=shown(((1.0,), (0.1,), (10.0,)))),
        replace(high, pictures=shown(((10.0,),))),
        replace(low, pictures=shown(((0.1,),))),
    ]


def test_networks_of_a_series_stand_together_by_rising_beta(trials):
    (of_seed,) = picture_data(trials)
    names = [(one["name"], [step["beta"] for step in one["steps"]]) for one in of_seed["traversals"]]
    assert names == [("MR-VAE", [0.1, 1.0, 10.0]), ("β-VAE, constant", [0.1, 10.0])]


def test_a_step_has_what_was_made_at_its_beta(trials):
    """A row a unit and a column a value; units and variances of the same β."""
    (of_seed,) = picture_data(trials)
    made = trials[0].pictures.traversals
    step = of_seed["traversals"][0]["steps"][1]
    assert (step["beta"], made.betas[0]) == (1.0, (1.0,))
    assert step["units"] == [1, 0]
    assert step["variances"] == made.variances[0].tolist()
    assert step["values"] == (-2.5, 0.0, 2.5)
    pixels = decoded(step["images"])
    assert pixels.shape == (8, 15)
    for row in range(2):
        for column in range(3):
            expected = made.images[0, row, column, 0]
            np.testing.assert_array_equal(pixels[4 * row : 4 * row + 4, 5 * column : 5 * column + 5], expected)


@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6))
def test_a_sprite_loses_nothing(rows, columns, channels, height, width):
    images = RANDOM.integers(0, 256, (rows, columns, channels, height, width), dtype=np.uint8)
    pixels = decoded(sprite(images)).reshape(rows, height, columns, width, channels)
    np.testing.assert_array_equal(pixels.transpose(0, 2, 4, 1, 3), images)


def test_pictures_without_traversals_have_no_section_of_them(build, trials):
    without = [replace(trial, pictures=replace(trial.pictures, traversals=None)) for trial in trials]
    (of_seed,) = picture_data(without)
    assert of_seed["traversals"] == []
    assert len(of_seed["series"]) == 2
    sweep = build.sweep(*without)
    assert 'id="traversals" hidden' in render_html(sweep, summarise(sweep), {})


def test_a_variance_that_is_no_number_is_null(trials):
    made = trials[0].pictures.traversals
    diverged = replace(made, variances=np.full_like(made.variances, np.nan))
    (of_seed,) = picture_data([replace(trials[0], pictures=shown(made.betas, traversals=diverged))])
    assert of_seed["traversals"][0]["steps"][0]["variances"] == [None, None]
    json.dumps(of_seed, allow_nan=False)


def test_seeds_that_the_page_has_no_room_for_are_left_out(trials, monkeypatch):
    """Seeds in their order as long as there is room, and the first one however large it is."""
    of_seeds = [replace(trial, seed=seed) for seed in (0, 1, 2) for trial in trials]
    everything = picture_data(of_seeds)
    assert [len(of_seed["traversals"]) for of_seed in everything] == [2, 2, 2]
    one = sum(len(step["images"]) for series in everything[0]["traversals"] for step in series["steps"])
    for room, expected in ((1, 1), (2 * one - 1, 1), (2 * one, 2), (3 * one, 3)):
        monkeypatch.setattr(pictures, "MOST_TRAVERSED", room)
        has = [of_seed["traversals"] is not None for of_seed in picture_data(of_seeds)]
        assert has == [seed < expected for seed in range(3)]
        assert [of_seed["series"] for of_seed in picture_data(of_seeds)] == [one["series"] for one in everything]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((1, 2, 3, 4, 5), np.uint8)}, r"traversals have the shape \(1, 2, 3, 4, 5\); they must be"),
        ({"images": np.zeros((1, 2, 3, 2, 4, 5), np.uint8)}, "1 or 3, height, width"),
        ({"images": np.zeros((1, 0, 3, 1, 4, 5), np.uint8)}, "none 0"),
        ({"images": np.zeros((1, 2, 3, 1, 4, 5))}, "traversals are float64; they must be uint8"),
        ({"images": np.zeros((1, 2, 4, 1, 4, 5), np.uint8)}, "there are 1 β, 3 values"),
        ({"betas": (0.1, 1.0)}, "there are 2 β, 3 values"),
        ({"units": np.zeros((1, 3), int)}, r"units of traversals have the shape \(1, 3\); they must have \(1, 2\)"),
        ({"variances": np.zeros(2)}, "variances of traversals have the shape"),
    ],
)
def test_traversals_of_other_shapes_or_types_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(traversals(), **changes)
