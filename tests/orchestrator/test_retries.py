"""Each cause has a budget of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.retries import (
    DIED,
    DRAINED,
    HOST_MEMORY,
    HUNG,
    LONGEST_BACK_OFF_SECONDS,
    MACHINE,
    MEMORY,
    NODE,
    STORE,
    TERMINATED,
    RetryPolicy,
    Tries,
    after_interruption,
)

CAUSES = (DIED, DRAINED, HOST_MEMORY, HUNG, MACHINE, MEMORY, NODE, STORE, TERMINATED, "something new")
POLICIES = st.builds(
    RetryPolicy,
    interruptions=st.integers(0, 20),
    without_progress=st.integers(0, 5),
    store=st.integers(0, 5),
    memory=st.integers(0, 3),
    hung=st.integers(0, 3),
    back_off_seconds=st.floats(0, 10),
)
STORIES = st.lists(st.tuples(st.sampled_from(CAUSES), st.floats(0, 100)), max_size=60)


def tell(policy, story):
    """Return the verdicts on a story of (cause, reached), up to the one that gives up."""
    tries, verdicts = Tries(), []
    for cause, reached in story:
        verdicts.append(after_interruption(policy, tries, cause, reached))
        tries = verdicts[-1].tries
        if verdicts[-1].wait_seconds is None:
            break
    return verdicts


def retries(policy, cause, reached=0.0):
    """Return how often a trial is tried again that is always interrupted so."""
    verdicts = tell(policy, [(cause, reached)] * 200)
    assert verdicts[-1].wait_seconds is None
    return len(verdicts) - 1


@pytest.mark.parametrize(
    ("cause", "times"),
    [
        (DIED, 3), (HOST_MEMORY, 3), (MACHINE, 3), (NODE, 50), (TERMINATED, 50), (DRAINED, 50),
        (STORE, 5), (MEMORY, 1), (HUNG, 2), ("something new", 3),
    ],
)  # fmt: skip
def test_each_cause_has_its_budget(cause, times):
    assert retries(RetryPolicy(), cause) == times


def test_a_trial_that_gets_further_goes_on_up_to_the_cap():
    verdicts = tell(RetryPolicy(), [(DIED, float(epoch)) for epoch in range(1, 60)])
    assert len(verdicts) == 51
    assert verdicts[-1].message.startswith("its worker died; given up after 51 tries")


def test_giving_up_says_that_it_got_no_further():
    *_, last = tell(RetryPolicy(), [(DIED, 2.0)] * 10)
    assert last.message.startswith("its worker died, 4 times without getting further; submit again")


def test_a_store_is_given_longer_and_longer_pauses():
    verdicts = tell(RetryPolicy(store=9, back_off_seconds=1.0), [(STORE, 0.0)] * 9)
    assert [verdict.wait_seconds for verdict in verdicts] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_store_that_worked_in_between_has_its_budget_anew():
    verdicts = tell(RetryPolicy(store=2), [(STORE, float(epoch // 2)) for epoch in range(2, 40)])
    assert all(verdict.wait_seconds is not None for verdict in verdicts)


def test_one_budget_is_not_spent_on_another():
    story = [(MEMORY, 0.0), (HUNG, 0.0), (STORE, 0.0), (DIED, 0.0), (HUNG, 0.0), (STORE, 0.0), (NODE, 0.0)]
    assert all(verdict.wait_seconds is not None for verdict in tell(RetryPolicy(), story))
    assert tell(RetryPolicy(), [*story, (MEMORY, 0.0)])[-1].wait_seconds is None


@given(POLICIES, STORIES)
def test_every_story_ends(policy, story):
    """Budgets bound the tries whatever happens; only a store that works in between has no bound."""
    verdicts = tell(policy, [(cause, 0.0) for cause, _ in story])
    bound = policy.interruptions + policy.store + policy.memory + policy.hung
    assert len(verdicts) <= bound + 1
    assert all(verdict.wait_seconds is not None for verdict in verdicts[:-1])


@given(POLICIES, STORIES)
def test_pauses_are_bounded_and_what_was_reached_is_kept(policy, story):
    reached = 0.0
    for verdict, (_, epoch) in zip(tell(policy, story), story, strict=False):
        reached = max(reached, epoch)
        assert verdict.tries.reached == reached
        assert verdict.wait_seconds is None or 0 <= verdict.wait_seconds <= LONGEST_BACK_OFF_SECONDS
        assert verdict.message


@given(POLICIES, STORIES)
def test_a_total_counts_every_interruption_while_the_store_gets_no_better(policy, story):
    for number, verdict in enumerate(tell(policy, [(cause, 0.0) for cause, _ in story]), start=1):
        assert verdict.tries.total == number
