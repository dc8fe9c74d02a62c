"""Figures for papers: what they draw, how large they are, and that they are the same each time."""

import hashlib
import math
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics.catalogue import QUANTITIES
from evaluation.report.content.series import gather
from evaluation.report.figures.lines import Line, band, mean_points, metric_lines, plane_lines
from evaluation.report.figures.matplotlib_figures import render_figures, render_small_multiples
from evaluation.report.figures.style import TEXT_INCHES, legend_size, looks_of

POINTS_PER_INCH = 72


def seeds(build, count, **changes):
    return [trial for seed in range(count) for trial in build.straight_pair(seed=seed, lower_by=1.0 + seed, **changes)]


def series_of(*trials):
    return gather(trials)[0]


def with_points(trials, **changes):
    return [replace(trial, points=tuple(replace(point, **changes) for point in trial.points)) for trial in trials]


def texts(svg):
    """Return what a figure says: glyphs are outlines, and what they stand for is in comments beside them."""
    return re.findall(r"<!-- (.*?) -->", svg.decode())


def line(*places):
    betas, x, y = zip(*places, strict=True)
    return Line(tuple((beta,) for beta in betas), np.array(x, dtype=float), np.array(y, dtype=float))


def test_each_figure_is_drawn_for_one_column_and_for_two(build):
    figures = render_figures(series_of(*seeds(build, 2)), "svg")
    assert list(figures) == [
        "rate-distortion.svg",
        "rate-distortion-wide.svg",
        "cost.svg",
        "cost-wide.svg",
    ]
    widths = {name: ET.fromstring(content).get("width") for name, content in figures.items()}  # noqa: S314 (our own)
    assert widths["rate-distortion.svg"] == widths["cost.svg"] == f"{3.3 * POINTS_PER_INCH:.6g}pt"
    assert widths["rate-distortion-wide.svg"] == f"{6.8 * POINTS_PER_INCH:.6g}pt"


def test_fonts_are_embedded_as_outlines_that_publishers_take(build):
    """TrueType with its file, and no Type 3."""
    pdf = render_figures(series_of(*build.straight_pair()), "pdf")["rate-distortion.pdf"]
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([0-9.]+) ", pdf)
    assert float(width) == pytest.approx(3.3 * POINTS_PER_INCH)


def test_axes_have_units_and_figures_no_title(build):
    svg = render_figures(series_of(*seeds(build, 2)), "svg")["rate-distortion.svg"]
    words = [text for text in texts(svg) if not re.fullmatch(r"[−0-9.]+", text)]
    assert words == [
        "rate (nats)",
        "distortion (nats)",
        "MR-VAE",
        "β-VAE, constant",
        "smallest to largest seed",
    ]


def test_squared_errors_are_named(build):
    svg = render_figures(series_of(*with_points(build.straight_pair(), distortion_unit="sse")), "svg")
    assert "distortion (summed squared error)" in texts(svg["rate-distortion.svg"])


def test_units_are_never_in_one_figure(build):
    single, *sweep = build.straight_pair()
    figures = render_figures(series_of(*with_points([single], distortion_unit="sse"), *sweep), "svg")
    assert "MR-VAE" not in texts(figures["rate-distortion-nats.svg"])
    assert "β-VAE, constant" not in texts(figures["rate-distortion-sse.svg"])
    assert "rate-distortion.svg" not in figures


def test_metrics_that_were_measured_are_drawn_against_beta(build):
    trials = with_points(build.straight_pair(), metrics={"psnr_db": 20.5, "active_units": 3})
    figures = render_figures(series_of(*trials), "svg")
    assert {name for name in figures if "wide" not in name} == {
        "rate-distortion.svg",
        "active-units.svg",
        "psnr.svg",
        "cost.svg",
    }
    assert {"β", "PSNR (dB)"} <= set(texts(figures["psnr.svg"]))
    assert "20.5" in "".join(texts(figures["psnr.svg"]))
    assert [text for text in texts(figures["active-units.svg"]) if text.startswith(("2", "3", "4"))] == ["3"]


def test_a_metric_that_is_not_a_number_is_left_out(build):
    figures = render_figures(series_of(*with_points(build.straight_pair(), metrics={"psnr_db": math.nan})), "svg")
    assert "psnr.svg" not in figures


def test_nothing_finished_draws_nothing(build):
    pending = [replace(trial, state="pending", points=(), costs=()) for trial in build.straight_pair()]
    assert render_figures(series_of(*pending), "pdf") == {}
    assert render_figures((), "svg") == {}


def test_times_of_different_devices_have_bars_of_their_own(build):
    costs = (build.cost(300.0), build.cost(60.0, device="cuda"), build.cost(30.0, outcome="failed", attempt=2))
    svg = render_figures(series_of(build.trial("MR-VAE", [(1.0, 10, 80)], costs=costs)), "svg")["cost.svg"]
    words = texts(svg)
    assert {"MR-VAE on cpu", "MR-VAE on cuda", "device time per seed (min)", "train"} <= set(words)
    assert "lost" not in words
    assert "evaluate" not in words


@pytest.mark.parametrize(("seconds", "unit"), [(119.0, "s"), (120.0, "min"), (7200.0, "h")])
def test_bars_are_in_the_unit_of_the_longest(build, seconds, unit):
    svg = render_figures(series_of(build.trial("MR-VAE", [(1.0, 10, 80)], seconds=seconds)), "svg")
    assert f"device time per seed ({unit})" in texts(svg["cost.svg"])


@pytest.mark.parametrize("name", ["$\\frac{$ & <b>", "_hidden_", "two\nlines\ttab", "bell\x07", "--> <!-- x"])
def test_names_are_shown_as_they_are(build, name):
    """No formula, no markup, and no name that matplotlib would hide for its underscore."""
    trials = [replace(trial, series=name) if trial.method == "beta-vae" else trial for trial in build.straight_pair()]
    svg = render_small_multiples({name: series_of(*trials)}, "svg")
    ET.fromstring(svg)  # noqa: S314 (our own)
    plain = render_small_multiples({"demo": series_of(*build.straight_pair())}, "svg")
    assert len(texts(svg)) == len(texts(plain))


def test_the_users_settings_of_matplotlib_change_nothing(build):
    panels = {"demo": series_of(*build.straight_pair())}
    expected = render_small_multiples(panels, "svg")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.facecolor": "red"}):
        assert render_small_multiples(panels, "svg") == expected


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_the_same_record_gives_the_same_bytes(build, kind):
    """In another process too, whose sets have another order; and there is no date in it."""
    series = series_of(*seeds(build, 2))
    program = (
        "import hashlib, pickle, sys\n"
        "from evaluation.report.figures.matplotlib_figures import render_figures\n"
        f"found = render_figures(pickle.load(sys.stdin.buffer), '{kind}')\n"
        "print(hashlib.sha256(b''.join(found.values())).hexdigest())\n"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(series),
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[4]), "HOME": "/nonexistent"},
        capture_output=True,
        check=True,
    )
    figures = render_figures(series, kind)
    assert elsewhere.stdout.decode().strip() == hashlib.sha256(b"".join(figures.values())).hexdigest()
    assert not any(word in content for content in figures.values() for word in (b"CreationDate", b"dc:date"))


def test_each_sweep_has_a_panel(build):
    one, other = series_of(*seeds(build, 2)), series_of(*with_points(build.straight_pair(), distortion_unit="sse"))
    svg = render_small_multiples({"digits-mlp": one, "celeba64": other}, "svg")
    words = texts(svg)
    assert [word for word in words if word in ("digits-mlp", "celeba64")] == ["digits-mlp", "celeba64"]
    assert {"distortion (nats)", "distortion (squared error)"} <= set(words)
    assert words.count("MR-VAE") == 1


def test_no_panel_is_refused():
    with pytest.raises(ValueError, match="no sweep to draw"):
        render_small_multiples({}, "svg")


def test_the_mean_is_of_the_points_of_one_beta(build):
    """Seeds whose second point is missing give no mean there; points are joined by rising rate."""
    lines = [line((1.0, 10, 90), (0.1, 30, 70)), line((1.0, 12, 84), (0.3, 20, 75), (0.1, 34, 60))]
    assert mean_points(lines) == [(11.0, 87.0), (32.0, 65.0)]


def test_the_band_lies_between_the_lines_as_they_are_drawn():
    """Over the rates that both span, 10 to 20: the lines cross at 15."""
    lines = [line((1.0, 0, 100), (0.1, 20, 80)), line((1.0, 10, 85), (0.1, 30, 85))]
    x, low, high = band(lines, np.asarray)
    assert x.tolist() == [10.0, 20.0]
    assert low.tolist() == [85.0, 80.0]
    assert high.tolist() == [90.0, 85.0]


def test_the_band_follows_a_logarithmic_axis():
    """Halfway between β 0.01 and 1 is 0.1."""
    lines = [line((0.01, 0.01, 0), (1.0, 1.0, 2)), line((0.01, 0.01, 5), (0.1, 0.1, 5), (1.0, 1.0, 5))]
    _, low, high = band(lines, np.log)
    np.testing.assert_allclose(low, [0, 1, 2])
    assert high.tolist() == [5, 5, 5]


def test_seeds_that_share_no_rate_have_no_band():
    assert band([line((1.0, 0, 9), (0.1, 1, 8)), line((1.0, 2, 7), (0.1, 3, 6))], np.asarray) is None
    assert band([line((1.0, 1, 9)), line((1.0, 1, 8))], np.asarray) is None


@given(st.lists(st.lists(st.floats(0, 100), min_size=4, max_size=4), min_size=2, max_size=4))
def test_the_band_holds_every_seed_and_does_not_know_their_order(heights):
    lines = [line(*((10.0**-i, i, y) for i, y in enumerate(row))) for row in heights]
    x, low, high = band(lines, np.asarray)
    assert x.tolist() == [0, 1, 2, 3]
    for one in lines:
        assert (low <= one.y).all()
        assert (one.y <= high).all()
    for found, again in zip((x, low, high), band(lines[::-1], np.asarray), strict=True):
        np.testing.assert_array_equal(found, again)
    means = [y for _, y in mean_points(lines)]
    assert (np.array(means) >= low - 1e-9).all()
    assert (np.array(means) <= high + 1e-9).all()


def test_a_line_has_the_points_of_its_unit_by_rising_rate(build):
    single = build.straight_pair()[0]
    (one,) = series_of(single)
    (found,) = plane_lines(one, "nats")
    assert (found.x.tolist(), found.y.tolist()) == ([10, 20, 30], [89, 79, 69])
    assert found.betas == ((10.0,), (1.0,), (0.1,))
    assert plane_lines(one, "sse") == []


def test_a_metric_is_read_from_the_points_that_have_it(build):
    psnr = next(quantity for quantity in QUANTITIES if quantity.column == "psnr_db")
    single = build.straight_pair()[0]
    measured = ({"psnr_db": 1.0}, {}, {"psnr_db": 3.0})
    points = [replace(point, metrics=each) for point, each in zip(single.points, measured, strict=True)]
    (one,) = series_of(replace(single, points=tuple(points)))
    (found,) = metric_lines(one, psnr)
    assert (found.x.tolist(), found.y.tolist()) == ([0.1, 10], [1, 3])


def test_no_two_series_look_the_same():
    looks = looks_of([str(index) for index in range(280)])
    assert len(set(looks.values())) == 280
    assert looks["0"].colour != looks["1"].colour
    assert looks["0"].marker != looks["1"].marker
    assert looks["0"].dashes != looks["1"].dashes


def test_a_legend_stays_within_the_figure():
    """Names side by side as far as they fit, else below each other, and broken where one alone is too long."""
    assert legend_size(["a", "b", "c"], TEXT_INCHES)[1:] == (3, 1)
    assert legend_size(["long name of a series"] * 4, 3.3)[1:] == (1, 4)
    labels, columns, lines = legend_size(["word " * 40], 3.3)
    assert columns == 1
    assert lines == labels[0].count("\n") + 1 > 1
