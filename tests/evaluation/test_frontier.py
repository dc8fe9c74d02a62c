import math
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import frontier
from evaluation.compute import Ratio
from evaluation.curves import hypervolume_share
from evaluation.frontier import (
    Checkpoint,
    Frontier,
    Model,
    compute_ratio,
    quality_difference,
    single_frontier,
    sweep_frontier,
)

REFERENCE = (10.0, 10.0)
COORDINATE = st.integers(0, 11).map(float)
MODELS = st.lists(
    st.builds(Model, st.integers(0, 6).map(float), st.tuples(COORDINATE, COORDINATE)), min_size=1, max_size=7
)
CHECKPOINTS = st.lists(
    st.builds(Checkpoint, st.integers(0, 9).map(float), st.tuples(*[st.tuples(COORDINATE, COORDINATE)] * 3)),
    min_size=1,
    max_size=8,
)

# Two β-VAEs of 30 and 16 of the 100 squares below the reference, 36 together.
PAIR = [Model(5.0, (4.0, 5.0)), Model(3.0, (8.0, 2.0))]


def best_by_trying_all(models, budget, reference=REFERENCE):
    subsets = (subset for size in range(len(models) + 1) for subset in combinations(models, size))
    affordable = (subset for subset in subsets if math.fsum(model.device_seconds for model in subset) <= budget)
    return max(hypervolume_share([model.point for model in subset], reference) for subset in affordable)


def scattered(count, seed=0):
    """Return models near a falling curve, whose costs differ by half of themselves."""
    random = np.random.default_rng(seed)
    rates = random.uniform(0.1, 10, count)
    distortions = 10 * np.exp(-rates / 4) + random.normal(0, 0.5, count)
    costs = random.uniform(0.5, 1.5, count)
    return [
        Model(cost, point)
        for cost, point in zip(costs.tolist(), zip(rates.tolist(), distortions.tolist(), strict=True), strict=True)
    ]


def made_of(*steps, spent=None, points=2, reference=REFERENCE):
    """Return a frontier of (device-seconds, quality) steps."""
    rising = tuple(frontier.Step(seconds, quality, ()) for seconds, quality in steps)
    return Frontier(rising, rising[-1].device_seconds if spent is None else spent, points, reference)


def test_a_sweep_buys_the_best_subset_of_each_budget():
    found = sweep_frontier(PAIR, REFERENCE)
    assert [(step.device_seconds, step.quality, step.chosen) for step in found.steps] == [
        (3.0, 0.16, (1,)),
        (5.0, 0.30, (0,)),
        (8.0, 0.36, (0, 1)),
    ]
    assert (found.device_seconds, found.points, found.shortfall) == (8.0, 2, 0.0)


def test_between_steps_the_quality_is_that_of_the_last_and_before_the_first_it_is_nothing():
    found = sweep_frontier(PAIR, REFERENCE)
    assert [found.quality_at(budget) for budget in (2.9, 3.0, 4.9, 5.0, 100.0)] == [0.0, 0.16, 0.16, 0.30, 0.36]


def test_the_compute_of_a_quality_is_the_first_budget_that_reaches_it():
    found = sweep_frontier(PAIR, REFERENCE)
    assert [found.compute_at(quality) for quality in (0.1, 0.16, 0.17, 0.36, 0.37)] == [3.0, 3.0, 5.0, 8.0, None]


@given(MODELS)
@settings(deadline=None)
def test_the_best_subset_is_the_best_of_all_subsets(models):
    found = sweep_frontier(models, REFERENCE)
    for budget in range(int(found.device_seconds) + 2):
        assert found.quality_at(budget) == pytest.approx(best_by_trying_all(models, budget), abs=1e-12)


def test_the_best_subset_of_twelve_uneven_models_is_the_best_of_all_4096():
    models = scattered(12)
    found = sweep_frontier(models, REFERENCE)
    for budget in np.linspace(0, found.device_seconds, 9):
        assert found.quality_at(budget) == pytest.approx(best_by_trying_all(models, budget), abs=1e-12)


@given(MODELS)
@settings(deadline=None)
def test_every_step_is_what_its_subset_costs_and_reaches(models):
    for step in sweep_frontier(models, REFERENCE).steps:
        chosen = [models[index] for index in step.chosen]
        assert step.device_seconds == math.fsum(model.device_seconds for model in chosen)
        assert step.quality == hypervolume_share([model.point for model in chosen], REFERENCE)


@given(MODELS, CHECKPOINTS)
@settings(deadline=None)
def test_frontiers_rise(models, checkpoints):
    for found in (sweep_frontier(models, REFERENCE), single_frontier(checkpoints, REFERENCE)):
        for before, after in pairwise(found.steps):
            assert before.device_seconds < after.device_seconds
            assert before.quality < after.quality


@given(MODELS, st.randoms())
@settings(deadline=None)
def test_the_order_of_models_changes_nothing(models, random):
    found, other = (sweep_frontier(order, REFERENCE) for order in (models, random.sample(models, len(models))))
    levels = [[(step.device_seconds, step.quality) for step in one.steps] for one in (found, other)]
    assert levels[0] == levels[1]


@given(MODELS)
@settings(deadline=None)
def test_the_whole_sweep_has_the_quality_of_its_whole_curve(models):
    whole = hypervolume_share([model.point for model in models], REFERENCE)
    assert sweep_frontier(models, REFERENCE).quality == pytest.approx(whole, abs=1e-12)


@given(MODELS, st.integers(1, 9))
@settings(deadline=None)
def test_a_dominated_model_of_no_less_cost_is_never_bought(models, dearer):
    rate, distortion = models[0].point
    further = Model(models[0].device_seconds + dearer, (rate + 1, distortion + 1))
    before, after = sweep_frontier(models, REFERENCE), sweep_frontier([*models, further], REFERENCE)
    assert after.steps == before.steps


def test_points_beyond_the_reference_or_not_finite_are_never_bought():
    models = [*PAIR, Model(1.0, (11.0, 1.0)), Model(1.0, (math.nan, 1.0)), Model(1.0, (1.0, -math.inf))]
    found = sweep_frontier(models, REFERENCE)
    assert found.steps == sweep_frontier(PAIR, REFERENCE).steps
    assert (found.device_seconds, found.points) == (11.0, 5)


def test_a_large_sweep_states_how_much_it_may_fall_short(monkeypatch):
    """Followed with four chains a model, twelve models fall short of the exact answer, by no more than is said."""
    models = scattered(12, seed=3)
    exact = sweep_frontier(models, REFERENCE)
    monkeypatch.setattr(frontier, "EXACT_MODELS", 0)
    monkeypatch.setattr(frontier, "KEPT_CHAINS", 4)
    found = sweep_frontier(models, REFERENCE)
    shortfalls = [step.quality - found.quality_at(step.device_seconds) for step in exact.steps]
    assert 0 < max(shortfalls) <= found.shortfall
    assert min(shortfalls) >= 0
    assert found.quality == exact.quality


@pytest.mark.parametrize("kept", [1, 3, 11])
def test_however_few_are_followed_the_whole_sweep_is_exact_and_the_bound_holds(kept, monkeypatch):
    sweeps = [scattered(10, seed=seed) for seed in range(20)]
    exact = [sweep_frontier(models, REFERENCE) for models in sweeps]
    monkeypatch.setattr(frontier, "EXACT_MODELS", 0)
    monkeypatch.setattr(frontier, "KEPT_CHAINS", kept)
    for models, full in zip(sweeps, exact, strict=True):
        found = sweep_frontier(models, REFERENCE)
        assert found.quality == full.quality
        for step in full.steps:
            assert step.quality - found.shortfall - 1e-12 <= found.quality_at(step.device_seconds) <= step.quality


def test_the_models_of_a_usual_sweep_are_followed_exactly():
    assert sweep_frontier(scattered(20), REFERENCE).shortfall == 0.0
    assert sweep_frontier(scattered(60), REFERENCE).shortfall < 0.02


def test_a_run_has_the_quality_of_its_best_checkpoint_so_far():
    """36 squares, then worse, then 42, in any order."""
    checkpoints = [
        Checkpoint(9.0, [(4.0, 3.0), (11.0, 1.0)]),
        Checkpoint(2.0, [(4.0, 5.0), (8.0, 2.0)]),
        Checkpoint(4.0, [(4.0, 5.0), (9.9, 9.0)]),
    ]
    found = single_frontier(checkpoints, REFERENCE)
    assert [(step.device_seconds, step.quality, step.chosen) for step in found.steps] == [
        (2.0, 0.36, (1,)),
        (9.0, 0.42, (0,)),
    ]
    assert (found.device_seconds, found.points) == (9.0, 2)


def test_a_last_checkpoint_that_is_worse_still_costs():
    found = single_frontier([Checkpoint(2.0, [(4.0, 5.0)]), Checkpoint(7.0, [(5.0, 5.0)])], REFERENCE)
    assert (found.quality, found.compute_at(found.quality), found.device_seconds) == (0.30, 2.0, 7.0)


def test_the_ratio_is_of_the_first_budgets_that_reach_the_lower_of_the_best_qualities():
    single, sweep = made_of((1, 0.1), (2, 0.5), (4, 0.6)), made_of((3, 0.2), (12, 0.5))
    assert compute_ratio(single, sweep) == Ratio(6.0)
    assert compute_ratio(sweep, single) == Ratio(1 / 6)


def test_a_quality_of_nothing_has_no_ratio():
    reason = "a quality of 0 is reached without training"
    assert compute_ratio(made_of((1, 0.0)), made_of((3, 0.6))) == Ratio(None, reason)


def test_two_equal_methods_are_equal_in_the_mean():
    """Frontiers of one distribution: the mean logarithm of the ratio is within three standard errors of 0."""
    pairs = [[sweep_frontier(scattered(6, seed=2 * seed + side), REFERENCE) for side in (0, 1)] for seed in range(600)]
    logarithms = np.log([compute_ratio(*pair).value for pair in pairs])
    assert abs(logarithms.mean()) < 3 * logarithms.std() / math.sqrt(len(pairs))
    assert logarithms.std() > 0.1


def test_two_equal_methods_of_equal_cost_have_equal_qualities_in_the_mean():
    sweeps = [[replace(model, device_seconds=1.0) for model in scattered(6, seed=seed)] for seed in range(1200)]
    found = [sweep_frontier(models, REFERENCE) for models in sweeps]
    differences = np.array([quality_difference(*pair) for pair in zip(found[::2], found[1::2], strict=True)])
    assert abs(differences.mean()) < 3 * differences.std() / math.sqrt(len(differences))
    assert differences.std() > 0.01


def test_no_time_has_no_ratio():
    assert compute_ratio(made_of((0, 0.9)), made_of((3, 0.6))) == Ratio(None, "no device time is recorded")


def test_at_equal_compute_the_sweep_is_the_best_subset_that_costs_no_more():
    single, sweep = made_of((1, 0.4), (2, 0.55), spent=5), made_of((3, 0.2), (5, 0.3), (6, 0.6))
    assert quality_difference(single, sweep) == pytest.approx(0.25)


@given(CHECKPOINTS, MODELS, st.integers(1, 9))
@settings(deadline=None)
def test_the_ratio_does_not_depend_on_the_unit_of_compute(checkpoints, models, factor):
    single, sweep = single_frontier(checkpoints, REFERENCE), sweep_frontier(models, REFERENCE)
    scaled = (
        single_frontier([Checkpoint(factor * one.device_seconds, one.curve) for one in checkpoints], REFERENCE),
        sweep_frontier([Model(factor * model.device_seconds, model.point) for model in models], REFERENCE),
    )
    before, after = compute_ratio(single, sweep), compute_ratio(*scaled)
    assert after.reason == before.reason
    assert after.value == (None if before.value is None else pytest.approx(before.value))
    assert quality_difference(*scaled) == quality_difference(single, sweep)


def test_a_run_with_the_sweeps_own_points_has_its_quality():
    """At the cost of one model it is as many times cheaper as there are models."""
    models = [Model(2.0, (rate, 9.0 - rate)) for rate in (1.0, 2.5, 4.0, 7.0)]
    single = single_frontier([Checkpoint(2.0, [model.point for model in models])], REFERENCE)
    assert compute_ratio(single, sweep_frontier(models, REFERENCE)).value == pytest.approx(4.0)


def test_unequal_numbers_of_points_do_not_compare():
    single, sweep = made_of((1, 0.5), points=20), made_of((3, 0.5), points=10)
    assert quality_difference(single, sweep) is None
    assert compute_ratio(single, sweep) == Ratio(
        None,
        "the MR-VAE has 20 points and the sweep 10; hypervolumes compare at equal numbers of points: evaluate the "
        "MR-VAE at the sweep’s β values",
    )


@pytest.mark.parametrize("compare", [compute_ratio, quality_difference])
def test_qualities_of_different_references_are_refused(compare):
    with pytest.raises(ValueError, match="build all frontiers with one reference"):
        compare(made_of((1, 0.5)), made_of((3, 0.5), reference=(10.0, 11.0)))


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_device_seconds_that_are_no_cost_are_refused(seconds):
    with pytest.raises(ValueError, match=r"model 2 cost .* device-seconds; the number must be 0 or more, and finite"):
        sweep_frontier([*PAIR, Model(seconds, (1.0, 1.0))], REFERENCE)
    with pytest.raises(ValueError, match="checkpoint 0 cost"):
        single_frontier([Checkpoint(seconds, [(1.0, 1.0)])], REFERENCE)


def test_checkpoints_of_different_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="checkpoint 1 has 2 points and checkpoint 0 1; evaluate all at the same β"):
        single_frontier([Checkpoint(1.0, [(1.0, 1.0)]), Checkpoint(2.0, [(1.0, 1.0), (2.0, 0.5)])], REFERENCE)


def test_nothing_has_no_frontier():
    with pytest.raises(ValueError, match="there is no model; a frontier needs one or more"):
        sweep_frontier([], REFERENCE)
    with pytest.raises(ValueError, match="there is no checkpoint; a frontier needs one or more"):
        single_frontier([], REFERENCE)


def test_a_reference_without_a_rectangle_is_refused():
    with pytest.raises(ValueError, match="must be above zero in both"):
        sweep_frontier(PAIR, (10.0, 0.0))
