"""What the page draws: bands, metrics over β, frontiers, and what it has no room for."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation.curves import mean_distortion
from evaluation.report.analysis.summary import summarise
from evaluation.report.figures import plotly_charts as charts
from evaluation.report.figures.lines import interpolated, seed_band
from evaluation.report.figures.plotly_charts import chart_data, metric_curves


def data_of(sweep):
    return chart_data(sweep, summarise(sweep))


def test_a_band_is_from_the_least_to_the_largest_seed(build):
    """Parallel lines 1 nat apart, at the rates that both span and at their points."""
    one, other = [(10.0, 90.0), (30.0, 70.0)], [(12.0, 89.0), (20.0, 81.0), (40.0, 61.0)]
    rates, low, high = seed_band([one, other])
    assert (rates[0], rates[-1]) == (12.0, 30.0)
    assert 20.0 in rates
    assert low == pytest.approx([100.0 - rate for rate in rates])
    assert high == pytest.approx([101.0 - rate for rate in rates])


@pytest.mark.parametrize(
    "curves",
    [
        [[(10.0, 90.0), (30.0, 70.0)]],
        [[(10.0, 90.0), (30.0, 70.0)], [(20.0, 80.0)]],
        [[(10.0, 90.0), (20.0, 80.0)], [(20.0, 80.0), (30.0, 70.0)]],
        [[(10.0, 90.0), (20.0, 80.0)], [(math.nan, 80.0), (30.0, 70.0)]],
    ],
)
def test_one_seed_or_curves_without_common_rates_have_no_band(curves):
    assert seed_band(curves) is None


def test_lines_are_the_interpolation_by_which_curves_are_compared(build):
    """The point that another dominates is beside the line, and the mean of the line is the number."""
    curve = [(10.0, 90.0), (15.0, 95.0), (20.0, 78.0), (35.0, 70.0)]
    rates, distortions = interpolated(curve)
    assert [point in zip(rates, distortions, strict=True) for point in curve] == [True, False, True, True]
    mean = np.trapezoid(distortions, rates) / (rates[-1] - rates[0])
    assert mean == pytest.approx(mean_distortion(curve, (10.0, 35.0)), rel=1e-3)
    (plane,) = data_of(build.sweep(build.trial("MR-VAE", [(1 / rate, rate, other) for rate, other in curve])))["planes"]
    assert plane["curves"][0]["line"] == {"rates": rates.tolist(), "distortions": distortions.tolist()}


def test_the_page_has_a_band_of_every_series_with_seeds(build):
    sweep = build.sweep(*build.straight_pair(seed=0), *build.straight_pair(seed=1, lower_by=2.0))
    (plane,) = data_of(sweep)["planes"]
    assert [band["series"] for band in plane["bands"]] == ["MR-VAE", "β-VAE, constant"]
    assert [low - high for low, high in zip(plane["bands"][0]["low"], plane["bands"][0]["high"], strict=True)] == (
        pytest.approx([-1.0] * len(plane["bands"][0]["rates"]))
    )


def test_metrics_are_over_beta_and_by_series_and_seed(build):
    """Only what was measured, by rising β; an infinite ratio cannot be drawn."""
    single, *sweep = build.straight_pair()
    measured = zip(single.points, (20.0, math.inf, 30.0), strict=True)
    points = (replace(point, metrics={"psnr_db": value}) for point, value in reversed(list(measured)))
    single = replace(single, points=tuple(points))
    (metric,) = metric_curves([single, *sweep])
    assert (metric["label"], metric["direction"]) == ("PSNR, dB", "higher is better")
    assert [(curve["series"], curve["betas"], curve["values"]) for curve in metric["curves"]] == [
        ("MR-VAE", [0.1, 10.0], [20.0, 30.0]),
        ("β-VAE, constant", [], []),
    ]


def test_without_metrics_there_is_nothing_to_choose(build):
    assert data_of(build.sweep(*build.straight_pair()))["metrics"] == []


def test_frontiers_in_the_page(build):
    lines = data_of(build.sweep(*build.straight_pair()))["frontiers"]
    assert [(line["series"], line["device_seconds"], line["spent"]) for line in lines] == [
        ("MR-VAE", [10.0], 10.0),
        ("β-VAE, constant", [20.0, 40.0], 40.0),
    ]
    assert lines[1]["reached_by"] == ("with β 10", "with β 0.1 and 10")


def test_a_run_against_several_sweeps_has_one_line(build):
    others = [build.trial("β-VAE, cyclic", [(b, r, 105.0 - r)]) for b, r in ((0.1, 30.0), (10.0, 10.0))]
    lines = data_of(build.sweep(*build.straight_pair(), *others))["frontiers"]
    assert [line["series"] for line in lines] == ["MR-VAE", "β-VAE, constant", "β-VAE, cyclic"]


def test_before_a_comparison_there_is_no_frontier(build):
    data = data_of(build.sweep(build.straight_pair()[0]))
    assert data["frontiers"] == []
    assert len(data["planes"]) == 1


def test_the_headlines_series_are_drawn_before_all_others(build, monkeypatch):
    """In their usual order, whole series or nothing; the page says how many are not drawn."""
    monkeypatch.setattr(charts, "MOST_CURVES", 2)
    weaker = [build.trial("β-VAE, constant", [(b, r, 105.0 - r)]) for b, r in ((0.1, 30.0), (10.0, 10.0))]
    strong = [replace(trial, series="β-VAE, cyclic") for trial in build.straight_pair()[1:]]
    data = data_of(build.sweep(build.straight_pair()[0], *weaker, *strong))
    assert [one["name"] for one in data["series"]] == ["MR-VAE", "β-VAE, cyclic"]
    assert data["left_out_series"] == 1
    assert {curve["series"] for plane in data["planes"] for curve in plane["curves"]} == {"MR-VAE", "β-VAE, cyclic"}


def test_of_very_many_trials_the_training_of_the_first_is_drawn(build, monkeypatch):
    monkeypatch.setattr(charts, "MOST_HISTORIES", 2)
    trials = [replace(trial, history=(build.epoch(1),)) for trial in build.straight_pair()]
    data = data_of(build.sweep(*trials))
    assert (len(data["history"]), data["left_out_histories"]) == (2, 1)
