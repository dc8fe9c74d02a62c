"""What choosing learning rates cost, and how it was done, in a report."""

import dataclasses
import math

import pytest

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import RateChoice
from evaluation.report.rendering.html import render_html
from evaluation.report.rendering.markdown import render_markdown


@pytest.fixture
def chosen(build):
    """A straight pair whose learning rates were chosen: two more runs of 5 s for the one, one failed for the other."""
    single, *sweep = build.straight_pair()
    tried = [
        build.trial("MR-VAE · learning_rate=0.1", [(1.0, 5, 80)], seconds=5.0),
        build.trial("MR-VAE · learning_rate=0.01", [(1.0, 6, 80)], seconds=5.0),
        build.trial(
            "β-VAE, constant · learning_rate=0.1",
            [(1.0, 5, 80)],
            state="failed",
            costs=(build.cost(7.0, outcome="failed"),),
        ),
    ]
    choices = (
        RateChoice(
            "MR-VAE",
            ((0.1, 99.0), (0.01, 98.0), (0.001, 97.0)),
            0.001,
            frozenset({tried[0].trial_id, tried[1].trial_id, single.trial_id}),
            "loss",
        ),
        RateChoice(sweep[0].series, ((0.1, math.inf), (0.001, 97.0)), 0.001, frozenset({tried[2].trial_id}), "loss"),
    )
    return build.sweep(single, *sweep, tried=tuple(tried), choices=choices)


def test_the_ratio_is_given_with_and_without_the_choice(build, chosen):
    """(sweep + 7 s that failed) / (run + 2 × 5 s): all that was tried counts, the winner once."""
    comparison = summarise(chosen).comparison
    single, sweep = (
        sum(cost.seconds for trial in chosen.trials if trial.method == method for cost in trial.costs)
        for method in ("mr-vae", "beta-vae")
    )
    assert comparison.cost.with_choice == pytest.approx((sweep + 7) / (single + 10))
    assert summarise(build.sweep(*chosen.trials)).comparison.cost.with_choice is None
    assert "× with the choice of learning rates" in summarise(chosen).tiles[0].text


def test_what_was_tried_is_on_the_page_and_in_no_curve(chosen):
    """A table with every rate and its loss; the runs are among the trials, and their points in no curve."""
    summary = summarise(chosen)
    for text in (render_html(chosen, summary, {}), render_markdown(chosen, summary).replace("\\", "")):
        assert "Choice of learning rates" in text
        assert "0.1: 99.00, 0.01: 98.00, 0.001: 97.00" in text
        assert "0.1: failed, 0.001: 97.00" in text
        assert "MR-VAE · learning_rate=0.01" in text.replace("&#183;", "·")
    assert [one.name for one in summary.series] == list(dict.fromkeys(trial.series for trial in chosen.trials))


def test_trials_that_wait_for_a_rate_are_no_comparison(build, chosen):
    undecided = dataclasses.replace(chosen, waiting=12)
    assert (
        summarise(undecided).headline == "No comparison yet: 12 trials are waiting for the choice of a learning rate."
    )
