"""The progress view, with the clock in the test's hands."""

import io

import pytest
from rich.console import Console

from command_line import SPEC
from orchestrator.plan import plan
from orchestrator.progress import ProgressView, duration
from orchestrator.spec_file import spec_from_text
from workers.outcome import Outcome, Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def view():
    """A view of three trials of 10 expected seconds each, two at a time, on a console that is no terminal."""
    trials = plan(spec_from_text(SPEC, "spec")).trials
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=200)
    names = [planned.trial_id for planned in trials]
    return ProgressView(console, trials, dict.fromkeys(names, 10.0), 2, clock), names, clock, out


def test_time_left_follows_what_is_measured(view):
    """Expectations count at first; then what runs and what ended corrects them."""
    shown, (first, second, _), clock, _ = view
    assert shown.seconds_left() == pytest.approx(30 / 2)
    shown.started(first)
    shown.started(second)
    clock.now = 10.0
    for trial_id in (first, second):
        shown.progressed(trial_id, Progress(1.0, 4, -1.0))
    # A quarter of each took 10 s in place of 2.5: what is left takes four times as long as expected.
    assert shown.seconds_left() == pytest.approx(25 * 4 / 2)
    clock.now = 40.0
    for trial_id in (first, second):
        shown.ended(trial_id, Outcome("done"))
    assert shown.seconds_left() == pytest.approx(10 * 4 / 2)


def test_plain_lines_say_what_ended_and_how(view):
    """Without a terminal each end is a line, and a summary comes every half minute."""
    shown, (first, second, _), clock, out = view
    shown.started(first)
    shown.started(second)
    shown.ended(first, Outcome("done"))
    shown.interrupted(second, 1)
    shown.started(second)
    shown.ended(second, Outcome("failed", "the loss is nan at step 3, β = 1"))
    clock.now = 31.0
    shown.tick()
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("done 1/3 MR-VAE")
    assert "its worker died (try 1); going on" in lines[1]
    assert lines[2].endswith("the loss is nan at step 3, β = 1")
    assert lines[3].startswith("1 of 3 done · 0 running · 1 waiting · 1 failed · 1 interruptions · 31 s gone")


def test_messages_with_brackets_are_shown_as_they_are(view):
    """What a failure says is text, not markup."""
    shown, (first, *_), _, out = view
    shown.ended(first, Outcome("failed", "index [bold]3[/bold] is out of [0, 3]"))
    assert "index [bold]3[/bold] is out of [0, 3]" in out.getvalue()


def test_terminal_shows_a_live_table():
    """In a terminal the running trials stand in a table with epoch and ELBO."""
    trials = plan(spec_from_text(SPEC, "spec")).trials
    out, clock = io.StringIO(), Clock()
    view = ProgressView(Console(file=out, width=120, force_terminal=True), trials, {}, 2, clock)
    with view.shown():
        view.started(trials[0].trial_id)
        clock.now = 1.0
        view.progressed(trials[0].trial_id, Progress(1.5, 3, -12.345))
    assert "1.5/3" in out.getvalue()
    assert "-12.35" in out.getvalue() or "-12.34" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds, text):
    """Two units at most."""
    assert duration(seconds) == text
