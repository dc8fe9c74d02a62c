"""Sentences in a report: the data behind its slider, and a page that has them."""

import pytest

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Texts
from evaluation.report.figures.text_samples import text_data
from evaluation.report.rendering.html import render_html


def texts(*betas):
    rows = tuple((f"first at {beta:g}", f"second at {beta:g}") for beta in betas)
    return Texts(tuple((beta,) for beta in betas), ("a <b> test", "another"), greedy=rows, sampled=rows, samples=rows)


@pytest.fixture
def trials(build):
    return (
        build.trial("MR-VAE", [(0.1, 9, 70), (1.0, 5, 80)], texts=texts(0.1, 1.0)),
        build.trial("β-VAE, constant", [(1.0, 5, 80)], texts=texts(1.0)),
        build.trial("β-VAE, constant", [(0.1, 9, 70)], texts=texts(0.1)),
    )


def test_networks_of_a_series_stand_together_by_rising_beta(trials):
    (shown,) = text_data(trials)
    assert shown["originals"] == ("a <b> test", "another")
    assert [one["name"] for one in shown["series"]] == ["MR-VAE", "β-VAE, constant"]
    for one in shown["series"]:
        assert one["betas"] == (0.1, 1.0)
        assert one["greedy"] == (("first at 0.1", "second at 0.1"), ("first at 1", "second at 1"))


def test_the_page_has_them_and_no_markup_of_theirs(build, trials):
    """Text from a file stays text: an angle bracket in it starts no tag."""
    sweep = build.sweep(*trials)
    page = render_html(sweep, summarise(sweep), {})
    assert "another" in page
    assert "a <b> test" not in page
    assert "pictures" not in "".join(summarise(sweep).missing)


def test_a_row_too_few_is_refused():
    with pytest.raises(ValueError, match="greedy must have 2 sentences for each of 2 β"):
        Texts((0.1, 1.0), ("a", "b"), greedy=(("a", "b"),), sampled=(), samples=())
