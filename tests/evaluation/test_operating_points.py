"""The β of an operating point, be it one number or one for each latent layer."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evaluation.operating_points import (
    beta_range_text,
    beta_text,
    by_layer,
    common_beta,
    curve_order,
    from_json,
    nearest,
    over_beta,
    same_point,
    to_json,
    weighted_rate,
)

BETA = st.floats(1e-6, 1e6)
PAIR = st.tuples(BETA, BETA)
BETAS = st.lists(BETA, min_size=1, max_size=4).map(tuple)


@given(BETA, st.integers(1, 4))
def test_one_beta_and_the_same_for_each_layer_are_one_point(beta, layers):
    """They match across seeds, read the same, weight rates the same, and are nearest to each other."""
    single, layered = (beta,), by_layer((beta,), layers)
    assert len(layered) == layers
    assert common_beta(single) == common_beta(layered) == beta
    assert same_point(single) == same_point(layered)
    assert beta_text(single) == beta_text(layered)
    assert nearest([single], [(beta * 2,) * layers, layered]) == {1}


@given(PAIR)
def test_layers_with_different_betas_have_no_common_one(betas):
    assume(betas[0] != betas[1])
    assert common_beta(betas) is None
    assert same_point(betas) == betas != same_point(betas[::-1])
    assert over_beta([betas]) == []


@given(BETAS)
def test_a_stored_point_reads_back_the_same(betas):
    assert from_json(json.loads(json.dumps(to_json(betas)))) == betas


def test_a_single_beta_is_stored_as_the_number_that_it_was_before():
    """Stores and identities have numbers where there is one β, and a list only where each layer has its own."""
    assert (to_json((0.1,)), to_json((0.1, 1.0))) == (0.1, [0.1, 1.0])


@given(st.lists(BETA, min_size=1, max_size=8))
def test_a_curve_over_single_betas_is_in_their_order(betas):
    ordered = sorted(((beta,) for beta in betas), key=curve_order)
    assert ordered == [(beta,) for beta in sorted(betas)]


@given(st.lists(st.one_of(BETA.map(lambda beta: (beta,)), PAIR), max_size=8))
def test_what_is_shown_over_beta_are_all_points_with_a_common_one(points):
    shown = over_beta(points)
    assert shown == sorted(shown)
    assert {index for _, index in shown} == {i for i, betas in enumerate(points) if common_beta(betas) is not None}
    assert all(common_beta(points[index]) == beta for beta, index in shown)


@given(st.lists(PAIR, min_size=1, max_size=8, unique=True), st.data())
def test_each_point_is_nearest_to_itself(points, data):
    wanted = data.draw(st.lists(st.sampled_from(range(len(points))), unique=True))
    assert nearest([points[index] for index in wanted], points) == set(wanted)


def test_the_nearest_point_is_told_by_all_layers():
    """(0.1, 9) is much nearer to (1, 10) than to (0.1, 0.1), with which its first β agrees."""
    assert nearest([(0.1, 9.0)], [(0.1, 0.1), (1.0, 10.0)]) == {1}
    assert nearest([(2.0,)], [(0.1, 1.0), (1.0, 1.0), (10.0, 1.0)]) == {1}


def test_points_of_different_numbers_of_layers_have_no_distance():
    with pytest.raises(ValueError, match="dimensions"):
        nearest([(0.1, 1.0)], [(0.1, 1.0, 1.0)])


@given(PAIR, st.tuples(st.floats(0, 100), st.floats(0, 100)))
def test_every_layers_rate_has_its_own_weight(betas, rates):
    found = weighted_rate(betas, rates, math.fsum(rates))
    assert found == pytest.approx(betas[0] * rates[0] + betas[1] * rates[1], rel=1e-9)


def test_betas_are_written_for_people():
    assert beta_text((0.123456,)) == "0.123"
    assert beta_text((0.1, 1.0)) == "(0.1, 1)"
    assert beta_text((0.123456, 1.0), digits=4) == "(0.1235, 1)"
    assert beta_range_text([(0.01,), (10.0,)]) == "0.01 to 10"
    assert beta_range_text([(0.1, 1.0)]) == "(0.1, 1)"
    assert beta_range_text([(1.0,), (1.0, 1.0)]) == "1"
