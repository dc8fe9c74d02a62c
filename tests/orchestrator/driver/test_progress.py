"""A driver's output while it runs trials; the test sets the clock."""

import io

import pytest
from rich.console import Console

from command_line import SPEC
from orchestrator.driver.heartbeat import Heartbeat
from orchestrator.driver.progress import ProgressView
from orchestrator.planning.plan import plan
from orchestrator.scheduling.resources import Node
from orchestrator.spec.file import spec_from_text
from workers.outcome import Outcome, Progress
from workers.store.store import Store

TRIALS = plan(spec_from_text(SPEC, "spec")).trials


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Driver:
    """A heartbeat and a view of three trials of 10 expected seconds each, two at a time."""

    def __init__(self, tmp_path, console):
        self.clock, self.console = Clock(), console
        self.heartbeat = Heartbeat(Store(tmp_path).sweep("tiny"), clock=self.clock)
        self.view = ProgressView(console, "tiny", TRIALS, self.heartbeat.snapshot, self.clock)
        seconds = dict.fromkeys([planned.trial_id for planned in TRIALS], 10.0)
        self.stage = self.heartbeat.stage(TRIALS, lambda: [Node("a", cpus=4.0)], seconds=seconds, slots=2)

    def __getattr__(self, event):
        def notify(*arguments):
            for callback in (self.heartbeat, self.view):
                getattr(callback, event)(*arguments)

        return notify


@pytest.fixture
def driver(tmp_path):
    """A driver on a console that is no terminal."""
    made = Driver(tmp_path, Console(file=io.StringIO(), width=200))
    with made.stage:
        yield made


def lines(driver):
    return driver.console.file.getvalue().splitlines()


def test_plain_lines_say_what_ended_and_how(driver):
    """Without a terminal each end is a line, and a summary comes every half minute."""
    first, second, _ = (planned.trial_id for planned in TRIALS)
    driver.started(first, 1)
    driver.started(second, 1)
    driver.clock.now = 5.0
    driver.ended(first, Outcome("done"))
    driver.interrupted(second, 1, "its worker died")
    driver.preempted(second)
    driver.started(second, 1)
    driver.ended(second, Outcome("failed", "the loss is nan at step 3, β = 1"))
    driver.clock.now = 31.0
    driver.tick()
    driver.tick()
    printed = lines(driver)
    assert printed[0].startswith("done 1/3 MR-VAE")
    assert "its worker died (attempt 1); retrying" in printed[1]
    assert printed[2].endswith("checkpointed and preempted; will resume")
    assert printed[3].startswith("failed 2/3 ")
    assert printed[3].endswith("the loss is nan at step 3, β = 1")
    assert printed[4].startswith("tiny: 1 done, 1 failed, 1 pending · waiting on ")
    assert " · 31 s elapsed · about 2.5 s left · " in printed[4]
    assert printed[4].endswith(" · 1 interruption · 1 preemption")
    assert len(printed) == 5


def test_why_nothing_starts_is_in_the_summary(driver):
    driver.held_back("waiting for resources (1 CPU)")
    driver.clock.now = 31.0
    driver.tick()
    assert "tiny: 3 pending · waiting on " in lines(driver)[0]
    assert " (waiting for resources (1 CPU)) · 31 s elapsed" in lines(driver)[0]


def test_messages_with_brackets_are_shown_as_they_are(driver):
    """What a failure says is text, not markup."""
    driver.ended(TRIALS[0].trial_id, Outcome("failed", "index [bold]3[/bold] is out of [0, 3]"))
    assert lines(driver)[0].endswith("index [bold]3[/bold] is out of [0, 3]")


def test_terminal_shows_a_live_table(tmp_path):
    """In a terminal the running trials are in a table with epoch and ELBO; a failure is printed as a line too."""
    driver = Driver(tmp_path, Console(file=io.StringIO(), width=120, force_terminal=True))
    first, second, third = (planned.trial_id for planned in TRIALS)
    with driver.stage, driver.view.shown():
        driver.started(first, 1)
        driver.ended(second, Outcome("done"))
        driver.ended(third, Outcome("failed", "the loss is nan"))
        driver.clock.now = 31.0
        driver.progressed(first, Progress(1.5, 3, -12.345))
        driver.tick()
    out = driver.console.file.getvalue()
    assert "tiny: 1 done, 1 running, 1 failed" in out
    assert "1.5/3" in out
    assert "-12.35" in out or "-12.34" in out
    assert "2/3 β-VAE, constant, β 1, seed 0" in out
    assert "the loss is nan" in out
    assert "1/3 β-VAE" not in out
