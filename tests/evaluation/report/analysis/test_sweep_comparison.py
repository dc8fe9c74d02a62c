"""Several sweeps in one comparison: what is averaged, what is not, and what each file shows."""

import csv
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluation.report.analysis.sweep_comparison import compare_sweeps, missing_results
from evaluation.report.content.contents import Scaled
from evaluation.report.content.series import gather
from evaluation.report.rendering.formats import FORMATS, SWEEP_COMPARISON_FORMATS, SWEEP_COMPARISON_USUAL, USUAL
from evaluation.report.rendering.render import render_formats, render_sweep_comparison
from evaluation.report.rendering.sweep_comparison import (
    sweep_comparison_csv,
    sweep_comparison_html,
    sweep_comparison_markdown,
    sweep_comparison_table,
)
from evaluation.report.tables.data_tables import seeds_csv

HOSTILE = "</td><script>alert('x')</script><img src=http://evil.example/x> & | \"q\""


@pytest.fixture
def named(build):
    """A sweep of straight pairs under a name, one pair a seed; `scale` multiplies all distortions."""

    def make(name, *lower_by, unit="nats", scale=1.0, single_seconds=10.0, **changes):
        trials = [
            trial
            for seed, by in enumerate(lower_by)
            for trial in build.straight_pair(seed=seed, lower_by=by, single_seconds=single_seconds)
        ]
        return build.sweep(*(_of_sweep(trial, name, unit, scale) for trial in trials), name=name, **changes)

    return make


def _of_sweep(trial, name, unit, scale):
    points = [replace(point, distortion=scale * point.distortion, distortion_unit=unit) for point in trial.points]
    return replace(trial, trial_id=f"{name}-{trial.trial_id}", points=tuple(points))


def values(sweep_comparison):
    return {name: estimate.value for name, estimate in sweep_comparison.overall.items()}


def test_each_sweep_has_the_numbers_of_its_report(named):
    """Means of 79 and 80 over rates 10 to 30, four times the device time."""
    sweep_comparison = compare_sweeps([named("one", 1.0), named("two", 1.0, unit="sse", scale=10)])
    one, two = sweep_comparison.estimates["one"], sweep_comparison.estimates["two"]
    assert one["times_cheaper"].value == two["times_cheaper"].value == pytest.approx(4)
    assert one["distortion_difference"].value == pytest.approx(-1)
    assert two["distortion_difference"].value == pytest.approx(-10)
    assert one["relative_distortion"].value == two["relative_distortion"].value == pytest.approx(-1 / 80)
    assert one["rates_reached"].value == 1


def test_over_sweeps_ratios_have_a_geometric_mean_and_shares_a_mean(named):
    """Ratios of 4 and 1; shares of -1/80 and +3/80."""
    sweep_comparison = compare_sweeps([named("one", 1.0), named("two", -3.0, single_seconds=40.0)])
    assert sweep_comparison.overall["times_cheaper"].value == pytest.approx(2)
    assert sweep_comparison.overall["relative_distortion"].value == pytest.approx(1 / 80)


def test_numbers_with_a_unit_are_not_averaged(named):
    sweep_comparison = compare_sweeps([named("one", 1.0), named("two", 1.0, unit="sse")])
    assert not {"distortion_difference", "bd_distortion"} & sweep_comparison.overall.keys()
    table = sweep_comparison_table(sweep_comparison)
    last = {column: cell.text for column, cell in zip(table.columns, table.rows[-1], strict=True)}
    assert last["distortion"] == last["BD-distortion"] == "–"
    assert [row[table.columns.index("distortion")].text for row in table.rows] == ["−1.00 nats", "−1.00 sse", "–"]


@pytest.mark.parametrize("scale", [0.01, 10, 1000])
def test_the_unit_of_a_sweep_changes_nothing_over_all(named, scale):
    """Powers of ten, so that the reference point of the hypervolume is rounded alike."""
    once = compare_sweeps([named("one", 1.0, 2.0), named("two", 3.0, 1.0)])
    again = compare_sweeps([named("one", 1.0, 2.0), named("two", 3.0, 1.0, unit="sse", scale=scale)])
    assert values(again) == pytest.approx(values(once))
    for name, estimate in once.overall.items():
        assert again.overall[name].low == pytest.approx(estimate.low)
        assert again.overall[name].high == pytest.approx(estimate.high)


def test_the_order_of_sweeps_changes_nothing_over_all(named):
    sweeps = [named("one", 1.0, 2.0), named("two", 3.0, 1.0), named("three", -1.0, -2.0)]
    assert values(compare_sweeps(sweeps)) == pytest.approx(values(compare_sweeps(sweeps[::-1])))


def test_intervals_are_of_the_seeds_within_each_sweep(named):
    """Shares of -1, -3 and of -2, -2 eightieths: only the first sweep has a variance, with one degree of freedom."""
    estimate = compare_sweeps([named("one", 1.0, 3.0), named("two", 2.0, 2.0)]).overall["relative_distortion"]
    assert estimate.value == pytest.approx(-2 / 80)
    assert estimate.half_width == pytest.approx(12.7062 / 80 / 2, rel=1e-4)
    assert estimate.seeds == (2, 2)


def test_one_seed_gives_no_interval_and_says_where(named):
    sweep_comparison = compare_sweeps([named("many", 1.0, 3.0), named("lonely", 1.0)])
    assert sweep_comparison.estimates["many"]["times_cheaper"].low is not None
    assert sweep_comparison.overall["times_cheaper"].low is None
    assert "lonely" in sweep_comparison.overall["times_cheaper"].reason
    assert any(
        sentence.startswith("lonely: ") and "one seed gives no interval" in sentence
        for sentence in missing_results(sweep_comparison)
    )
    assert "Over 2 sweeps (2 + 1 seeds), it costs 4.0 times less (no interval)" in sweep_comparison.headline


def test_the_headline_says_the_answers_cost_and_quality(named):
    sweep_comparison = compare_sweeps([named("one", 1.0), named("two", 1.0)])
    assert sweep_comparison.headline == (
        "One MR-VAE run replaces the β-VAEs in 0 of 2 sweeps (2 undecided). Over 2 sweeps (1 + 1 seeds), it costs 4.0 "
        "times less (no interval) and its distortion at equal rates is 1.2 % lower (no interval)."
    )


def test_the_headline_says_what_is_worse(named):
    slow = {"single_seconds": 80.0}
    headline = compare_sweeps([named("one", -2.0, -2.0, **slow), named("two", 2.0, 2.0)]).headline
    assert headline.startswith("One MR-VAE run replaces the β-VAEs in 1 of 2 sweeps (1 no). ")
    headline = compare_sweeps([named("one", -2.0, -2.0, **slow), named("two", -2.0, -2.0, **slow)]).headline
    assert "it costs 2.0 times more (95 % interval 2.0 to 2.0)" in headline
    assert "is 2.5 % higher (95 % interval +2.5 % to +2.5 %)" in headline


def test_what_cannot_be_compared_is_listed_with_the_reason(build, named):
    pending = named("pending", 1.0)
    pending = replace(pending, trials=tuple(replace(trial, state="pending", points=()) for trial in pending.trials))
    scaled = named("scaled", 1.0, scaled=Scaled("smoke", (("training.epochs", "200", "2"),)))
    alone = build.sweep(build.straight_pair()[0], name="alone")
    sweep_comparison = compare_sweeps([named("fine", 1.0), pending, scaled, alone])
    assert [sweep.name for sweep in sweep_comparison.compared] == ["fine"]
    assert sweep_comparison.left_out == (
        ("pending", "No trial has finished yet: 3 pending."),
        ("scaled", "Scaled by “smoke”: these figures are no evidence for the spec in full."),
        ("alone", "Only MR-VAEs were trained (1 trial); a comparison also needs a sweep of β-VAEs."),
    )
    assert sweep_comparison.headline.startswith(
        "One MR-VAE run replaces the β-VAEs in 0 of 4 sweeps (1 undecided, 3 not compared). Over 1 sweep (1 seed), it "
        "costs"
    )
    assert set(missing_results(sweep_comparison)) >= {f"{name}: {reason}" for name, reason in sweep_comparison.left_out}


def test_a_number_that_one_sweep_lacks_is_of_the_others(build, named):
    """β-VAEs that ran on another kind of device: no ratio of compute, and distortions all the same."""
    mixed = named("mixed", 1.0, 1.0)
    elsewhere = (build.cost(20.0, device="cuda"),)
    trials = [replace(t, costs=elsewhere) if t.method == "beta-vae" else t for t in mixed.trials]
    sweep_comparison = compare_sweeps([replace(mixed, trials=tuple(trials)), named("fine", 1.0, 1.0)])
    assert sweep_comparison.over["times_cheaper"] == ("fine",)
    assert sweep_comparison.over["relative_distortion"] == ("mixed", "fine")
    assert "different kinds of device" in sweep_comparison.estimates["mixed"]["times_cheaper"].reason
    assert "Over 1 sweep (2 seeds), it costs 4.0 times less" in sweep_comparison.headline
    assert "; over 2 sweeps (2 + 2 seeds), its distortion at equal rates" in sweep_comparison.headline
    table = sweep_comparison_table(sweep_comparison)
    assert table.rows[-1][table.columns.index("times cheaper")].note == "4.0 to 4.0; of 1 sweep"


def test_trials_that_two_sweeps_share_are_owned_up_to(build):
    """They would count twice."""
    sweeps = [build.sweep(*build.straight_pair(), name=name) for name in ("one", "two")]
    assert compare_sweeps(sweeps).notes == (
        "one and two share 3 trials: they are not independent, and intervals are too narrow.",
    )


def test_a_sweep_twice_is_refused(named):
    with pytest.raises(ValueError, match="sweep 'one' is named twice"):
        compare_sweeps([named("one", 1.0), named("two", 1.0), named("one", 2.0)])


def test_nothing_to_compare_is_said(build):
    sweep_comparison = compare_sweeps([build.sweep(name="one"), build.sweep(name="two")])
    assert sweep_comparison.headline == "None of the 2 sweeps can be compared."
    files = render_sweep_comparison(sweep_comparison, tuple(SWEEP_COMPARISON_FORMATS))
    assert {name for name, contents in files.items() if not contents} == {"pdf", "svg", "latex"}
    assert "The sweep has no trials." in files["html"]["comparison.html"].decode()
    rows = csv.DictReader(io.StringIO(files["csv"]["comparison.csv"].decode()))
    assert [row["kind"] for row in rows] == ["left out"] * 2


def test_csv_has_every_number_in_full(named):
    sweep_comparison = compare_sweeps([named("one", 1.0, 2.0), named("two", 1.0, 3.0, unit="sse")])
    rows = list(csv.DictReader(io.StringIO(sweep_comparison_csv(sweep_comparison).decode())))
    assert [(row["kind"], row["sweep"], row["distortion_unit"]) for row in rows] == [
        ("sweep", "one", "nats"),
        ("sweep", "two", "sse"),
        ("overall", "", ""),
    ]
    for row, estimates in zip(rows, [*sweep_comparison.estimates.values(), sweep_comparison.overall], strict=True):
        for name, estimate in estimates.items():
            found = [row[f"{name}{part}"] for part in ("", "_low", "_high")]
            expected = [estimate.value, estimate.low, estimate.high]
            assert [float(text) if text else None for text in found] == expected
    assert rows[2]["distortion_difference"] == ""
    assert math.isclose(float(rows[0]["relative_distortion"]), -1.5 / 80)


class Page(HTMLParser):
    """The elements that a browser would see, and the text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_runs_nothing_and_loads_nothing(named):
    page = Page(sweep_comparison_html(compare_sweeps([named("one", 1.0, dataset=HOSTILE), named("two", 1.0)])))
    assert "script" not in {tag for tag, _ in page.elements}
    addresses = [value for _, found in page.elements for key, value in found.items() if key in ("src", "href")]
    assert all(address.startswith("data:") for address in addresses)
    (policy,) = (found["content"] for _, found in page.elements if "http-equiv" in found)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert HOSTILE in page.text
    (image,) = (found for tag, found in page.elements if tag == "img")
    assert image["src"].startswith("data:image/svg+xml;base64,")
    assert image["alt"] == "Rate-distortion curves of one, two"


def test_page_and_markdown_say_the_same(named):
    sweep_comparison = compare_sweeps(
        [named("one", 1.0), named("two", 1.0, unit="sse"), replace(named("three"), trials=())]
    )
    text = Page(sweep_comparison_html(sweep_comparison)).text
    plain = sweep_comparison_markdown(sweep_comparison).replace("\\", "")
    table = sweep_comparison_table(sweep_comparison)
    for words in (
        sweep_comparison.headline,
        *missing_results(sweep_comparison),
        *(cell.text for row in table.rows for cell in row),
    ):
        assert words in text
        assert words in plain


def test_markdown_tables_have_as_many_cells_as_columns(named):
    markdown = sweep_comparison_markdown(compare_sweeps([named("one", 1.0, dataset="a | b"), named("two", 1.0)]))
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_every_format_is_made_and_again_the_same(named):
    sweep_comparison = compare_sweeps([named("one", 1.0), named("two", 1.0)])
    first, second = (render_sweep_comparison(sweep_comparison, tuple(SWEEP_COMPARISON_FORMATS)) for _ in range(2))
    assert list(first) == list(SWEEP_COMPARISON_FORMATS)
    assert first == second
    assert all(content for contents in first.values() for content in contents.values())


def test_every_format_of_a_report_is_made(build):
    files = render_formats(build.sweep(*build.straight_pair()), tuple(FORMATS))
    assert {name: list(contents) for name, contents in files.items()} == {
        "html": ["report.html"],
        "markdown": ["report.md"],
        "csv": ["points.csv", "costs.csv", "trials.csv", "seeds.csv"],
        "parquet": ["points.parquet"],
        "pdf": [f"figures/{name}.pdf" for name in FIGURES],
        "svg": [f"figures/{name}.svg" for name in FIGURES],
        "latex": [f"tables/{name}.tex" for name in ("methods", "costs", "comparisons", "seeds")],
    }


FIGURES = ("rate-distortion", "rate-distortion-wide", "cost", "cost-wide")


def test_seeds_have_their_summaries_in_csv(build, named):
    """In full, and empty with the reason where a seed has none."""
    sweep = named("one", 1.0, 2.0)
    open_one = replace(sweep.trials[-1], state="pending", points=(), costs=(build.cost(3.0, device="cuda"),))
    rows = list(csv.DictReader(io.StringIO(seeds_csv(gather((*sweep.trials[:-1], open_one))[0]).decode())))
    assert [(row["series"], row["seed"], row["done"], row["trials"]) for row in rows] == [
        ("MR-VAE", "0", "1", "1"),
        ("MR-VAE", "1", "1", "1"),
        ("β-VAE, constant", "0", "2", "2"),
        ("β-VAE, constant", "1", "1", "2"),
    ]
    assert [float(row["mean_distortion"]) for row in rows[:3]] == [79, 78, 80]
    assert [float(row["least_rate_nats"]) for row in rows[:3]] == [10, 10, 10]
    assert (rows[3]["mean_distortion"], rows[3]["reason"]) == ("", "1 of 2 trials done")
    assert (float(rows[2]["useful_device_seconds"]), float(rows[2]["lost_device_seconds"])) == (40, 0)
    assert (rows[3]["useful_device_seconds"], rows[3]["device_kinds"]) == ("20.0", "cpu cuda")


def test_only_what_is_asked_for_is_made(build):
    assert list(render_formats(build.sweep(*build.straight_pair()), ("latex", "csv", "latex"))) == ["latex", "csv"]


def test_an_unknown_format_is_refused(build):
    with pytest.raises(ValueError, match="no format 'docx'; choose one of html, markdown, csv"):
        render_formats(build.sweep(), ("html", "docx"))
    with pytest.raises(ValueError, match="no format 'parquet'"):
        render_sweep_comparison(compare_sweeps([build.sweep(name="a"), build.sweep(name="b")]), ["parquet"])


def test_the_usual_formats_are_formats():
    assert set(USUAL) <= set(FORMATS)
    assert set(SWEEP_COMPARISON_USUAL) <= set(SWEEP_COMPARISON_FORMATS) <= set(FORMATS)
