"""A report on a sweep that ran at a scale of its spec says so wherever a figure may be taken from."""

import re

import pytest

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Scaled
from evaluation.report.rendering.html import render_html
from evaluation.report.rendering.markdown import render_markdown

SMOKE = Scaled("smoke", (("training.epochs", "200", "2"), ("methods.1.betas", "[0.1, 1]", "[1]")))
TITLE = "Scaled by “smoke”: these figures are no evidence for the spec in full"


def html(sweep):
    return render_html(sweep, summarise(sweep), {})


def markdown(sweep):
    return render_markdown(sweep, summarise(sweep))


@pytest.fixture
def scaled(build):
    return build.sweep(*build.straight_pair(), scaled=SMOKE)


def test_the_headline_carries_the_scale(build, scaled):
    """It is what gets quoted, on its own."""
    full = summarise(build.sweep(*build.straight_pair())).headline
    assert summarise(scaled).headline == f"At scale “smoke” only: {full}"


def test_a_sweep_without_a_comparison_carries_it_too(build):
    headline = summarise(build.sweep(scaled=SMOKE)).headline
    assert headline == "At scale “smoke” only: The sweep has no trials."


def test_what_is_missing_starts_with_the_spec_in_full(scaled):
    assert summarise(scaled).missing[0] == (
        "These results are of the scale “smoke” and are no evidence for the spec in full: submit without "
        "“--scale smoke” to run the spec in full."
    )


def test_the_page_says_it_before_the_headline(scaled):
    """In a box that is open and not folded away, with every change."""
    before, _, _ = html(scaled).partition('<p class="headline">')
    (box,) = re.findall(r'<section class="warn" id="scaled">(.*?)</section>', before, re.DOTALL)
    assert f"<h2>{TITLE}</h2>" in box
    assert re.findall(r"<li>(.*?)</li>", box) == ["training.epochs: 200 → 2", "methods.1.betas: [0.1, 1] → [1]"]


def test_markdown_says_it_before_the_headline(scaled):
    before, _, _ = markdown(scaled).partition("**At scale")
    quoted = [line for line in before.splitlines() if line.startswith(">")]
    assert quoted == [
        f"> **{TITLE}**",
        ">",
        "> - training.epochs: 200 → 2",
        "> - methods.1.betas: \\[0.1, 1\\] → \\[1\\]",
    ]


@pytest.mark.parametrize("render", [html, markdown])
def test_a_sweep_in_full_says_nothing_of_scales(build, render):
    text = render(build.sweep(*build.straight_pair()))
    assert "Scaled by" not in text
    assert "At scale" not in text
    assert "--scale" not in text


HOSTILE = "<script>alert(1)</script>\n> **"


def test_hostile_names_and_values_are_inert(build):
    """As a scale's name, a key and its values."""
    sweep = build.sweep(scaled=Scaled(HOSTILE, ((HOSTILE, HOSTILE, HOSTILE),)))
    assert "<script>alert" not in html(sweep)
    assert html(sweep).count("&lt;script&gt;alert(1)") >= 5
    assert not re.search(r"(?<!\\)<", markdown(sweep))
    assert all(
        line.startswith("> - ") for line in markdown(sweep).splitlines() if line.startswith("> ") and "→" in line
    )
