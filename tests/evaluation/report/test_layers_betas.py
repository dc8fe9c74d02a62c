"""A report on points whose two latent layers each have their own β, made by hand, from records to figures."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from evaluation.metrics.catalogue import CATALOGUE
from evaluation.operating_points import NOT_OVER_BETA
from evaluation.records import Point, from_parquet, to_parquet
from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Pictures, Texts
from evaluation.report.content.series import gather
from evaluation.report.figures.lines import mean_points, metric_lines, plane_lines
from evaluation.report.figures.matplotlib_figures import render_figures
from evaluation.report.figures.pictures import picture_data
from evaluation.report.figures.plotly_charts import chart_data
from evaluation.report.figures.text_samples import text_data
from evaluation.report.rendering.render import render_formats
from evaluation.report.tables.text_tables import points_table, trials_table

GRID = ((0.1, 0.1), (0.1, 1.0), (1.0, 0.1), (10.0, 1.0))
"""The first is one β for both layers; the second and third have the same numbers."""


def layered(point):
    """Return the point with a rate for each of two layers, and a metric."""
    rates = (0.25 * point.rate_nats, 0.75 * point.rate_nats)
    return replace(point, rates_nats=rates, metrics={"psnr_db": point.rate_nats})


@pytest.fixture
def trials(build):
    """One run evaluated on the grid, one model for each cell, two seeds: D = 100 - R, the run 1 below."""
    rates = (40.0, 30.0, 20.0, 10.0)
    made = []
    for seed in (0, 1):
        pairs = [(betas, rate, 100.0 - rate) for betas, rate in zip(GRID, rates, strict=True)]
        single = build.trial("MR-VAE", [(betas, rate, d - 1) for betas, rate, d in pairs], seed=seed)
        made += [replace(single, betas=(GRID[0], GRID[-1]))]
        made += [build.trial("β-VAE, constant", [pair], seed=seed, seconds=20.0) for pair in pairs]
    return [replace(trial, points=tuple(map(layered, trial.points))) for trial in made]


def test_points_keep_every_beta_in_parquet(trials):
    points = [point for trial in trials for point in trial.points]
    assert from_parquet(Point, to_parquet(Point, points), "points") == points
    assert {point.betas for point in points} == set(GRID)


def test_series_compare_at_the_same_vectors(trials):
    """The run's points nearest the sweep's are all four, so that nothing is lost at “the same β”."""
    series, scale = gather(trials)
    assert set(scale.betas) == {(0.1,), *GRID[1:]}
    for one in series:
        for seed in one.seeds:
            assert len(seed.at(scale.betas)) == len(GRID)
            assert seed.hypervolume == seed.hypervolume_same_betas


def test_frontiers_name_the_models_by_all_their_betas(trials, build):
    (comparison, *_) = summarise(build.sweep(*trials)).comparisons
    assert comparison.frontiers.reason == ""
    for line in comparison.frontiers.sweep:
        assert line.reached_by[-1] == "with β 0.1, (0.1, 1), (1, 0.1) and (10, 1)"


def test_tables_show_every_beta(trials):
    shown = [row[2].text for row in points_table(trials).rows]
    assert shown[:4] == ["0.1", "(0.1, 1)", "(1, 0.1)", "(10, 1)"]
    assert [row[2].text for row in trials_table(trials).rows][:3] == ["0.1 to (10, 1)", "0.1", "(0.1, 1)"]


def test_lines_over_seeds_join_points_of_the_same_vector(trials):
    """(0.1, 1) and (1, 0.1) are two points: their means over the seeds lie where each is."""
    series, _ = gather(trials)
    for one in series:
        lines = plane_lines(one, "nats")
        assert [rate for rate, _ in mean_points(lines)] == [10.0, 20.0, 30.0, 40.0]


def test_charts_over_beta_leave_vectors_out_and_say_so(trials, build):
    """They are counted among what is missing, with the reason."""
    sweep = build.sweep(*trials)
    summary = summarise(sweep)
    (metric,) = chart_data(sweep, summary)["metrics"]
    assert {(tuple(curve["betas"]), tuple(curve["values"])) for curve in metric["curves"]} == {((0.1,), (40.0,))}
    (psnr,) = CATALOGUE["psnr"].quantities
    for one in summary.series:
        assert [line.x.tolist() for line in metric_lines(one, psnr)] == [[0.1], [0.1]]
    (told,) = [sentence for sentence in summary.missing if NOT_OVER_BETA in sentence]
    assert told.startswith("12 operating points are left out")
    assert not any(NOT_OVER_BETA in sentence for sentence in summarise(build.sweep(*build.straight_pair())).missing)


def test_the_plane_has_all_points(trials, build):
    sweep = build.sweep(*trials)
    (plane,) = chart_data(sweep, summarise(sweep))["planes"]
    assert plane["curves"][0]["betas"] == ["0.1", "(0.1, 1)", "(1, 0.1)", "(10, 1)"]


def test_the_slider_leaves_vectors_out(trials):
    """Pictures and sentences at the common β stay, each with its own; a trial without one has none."""
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1, 1)
    pictures = Pictures(GRID[::-1], images[0], images, images)
    rows = tuple((f"at {betas}",) for betas in GRID[::-1])
    texts = Texts(GRID[::-1], ("original",), rows, rows, rows)
    one, other = trials[0], replace(trials[2], pictures=Pictures(GRID[1:2], images[0], images[:1], images[:1]))
    shown = [replace(one, pictures=pictures, texts=texts), other]
    (of_seed,) = picture_data(shown)
    assert [(series["name"], series["betas"]) for series in of_seed["series"]] == [("MR-VAE", [0.1])]
    (sentences,) = text_data(shown)
    assert sentences["series"][0]["greedy"] == (("at (0.1, 0.1)",),)


def test_every_format_can_be_written(trials, build):
    files = render_formats(build.sweep(*trials), ["html", "markdown", "csv", "parquet", "svg", "latex"])
    rows = list(csv.DictReader(io.StringIO(files["csv"]["trials.csv"].decode())))
    assert [row["betas"] for row in rows][:3] == ["[0.1, 0.1] [10.0, 1.0]", "[0.1, 0.1]", "[0.1, 1.0]"]
    points = list(csv.DictReader(io.StringIO(files["csv"]["points.csv"].decode())))
    assert [row["betas"] for row in points][:2] == ["0.1 0.1", "0.1 1"]
    assert set(render_figures(gather(trials)[0], "svg")) >= {"rate-distortion.svg", "psnr.svg", "cost.svg"}
