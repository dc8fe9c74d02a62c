"""Each cause has its own retry limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.retries import LONGEST_BACK_OFF_SECONDS, AttemptCounts, RetryPolicy, after_interruption
from workers.outcome import Cause

POLICIES = st.builds(
    RetryPolicy,
    interruptions=st.integers(0, 20),
    without_progress=st.integers(0, 5),
    store=st.integers(0, 5),
    memory=st.integers(0, 3),
    hung=st.integers(0, 3),
    back_off_seconds=st.floats(0, 10),
)
STORIES = st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 100)), max_size=60)


def tell(policy, story):
    """Return the decisions on a story of (cause, reached), up to the one that gives up."""
    counts, decisions = AttemptCounts(), []
    for cause, reached in story:
        decisions.append(after_interruption(policy, counts, cause, reached))
        counts = decisions[-1].counts
        if decisions[-1].wait_seconds is None:
            break
    return decisions


def retries(policy, cause, reached=0.0):
    """Return how often a trial is tried again that is always interrupted so."""
    decisions = tell(policy, [(cause, reached)] * 200)
    assert decisions[-1].wait_seconds is None
    return len(decisions) - 1


LIMITS = {
    Cause.STORE: 5,
    Cause.DEVICE_MEMORY: 1,
    Cause.MACHINE: 3,
    Cause.RANK_LOST: 3,
    Cause.WORKER_DIED: 3,
    Cause.HOST_MEMORY: 3,
    Cause.HUNG: 2,
    Cause.NODE_LOST: 50,
    Cause.DRAINED: 50,
    Cause.TERMINATED: 50,
}


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_limit(cause):
    assert retries(RetryPolicy(), cause) == LIMITS[cause]


def test_a_trial_that_gets_further_goes_on_up_to_the_cap():
    decisions = tell(RetryPolicy(), [(Cause.WORKER_DIED, float(epoch)) for epoch in range(1, 60)])
    assert len(decisions) == 51
    assert decisions[-1].message.startswith("worker died; given up after 51 attempts")


def test_giving_up_says_that_it_got_no_further():
    *_, last = tell(RetryPolicy(), [(Cause.WORKER_DIED, 2.0)] * 10)
    assert last.message.startswith("worker died, 4 times without progress; submit again")


def test_a_store_is_given_longer_and_longer_pauses():
    decisions = tell(RetryPolicy(store=9, back_off_seconds=1.0), [(Cause.STORE, 0.0)] * 9)
    assert [decision.wait_seconds for decision in decisions] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_store_that_worked_in_between_has_its_full_limit_again():
    decisions = tell(RetryPolicy(store=2), [(Cause.STORE, float(epoch // 2)) for epoch in range(2, 40)])
    assert all(decision.wait_seconds is not None for decision in decisions)


def test_one_limit_is_not_spent_on_another():
    causes = "DEVICE_MEMORY", "HUNG", "STORE", "WORKER_DIED", "HUNG", "STORE", "NODE_LOST"
    story = [(Cause[name], 0.0) for name in causes]
    assert all(decision.wait_seconds is not None for decision in tell(RetryPolicy(), story))
    assert tell(RetryPolicy(), [*story, (Cause.DEVICE_MEMORY, 0.0)])[-1].wait_seconds is None


@given(POLICIES, STORIES)
def test_every_story_ends(policy, story):
    """The limits bound the attempts whatever happens; only a store that works in between has no bound."""
    decisions = tell(policy, [(cause, 0.0) for cause, _ in story])
    bound = policy.interruptions + policy.store + policy.memory + policy.hung
    assert len(decisions) <= bound + 1
    assert all(decision.wait_seconds is not None for decision in decisions[:-1])


@given(POLICIES, STORIES)
def test_pauses_are_bounded_and_what_was_reached_is_kept(policy, story):
    reached = 0.0
    for decision, (_, epoch) in zip(tell(policy, story), story, strict=False):
        reached = max(reached, epoch)
        assert decision.counts.reached == reached
        assert decision.wait_seconds is None or 0 <= decision.wait_seconds <= LONGEST_BACK_OFF_SECONDS
        assert decision.message


@given(POLICIES, STORIES)
def test_a_total_counts_every_interruption_while_the_store_gets_no_better(policy, story):
    for number, decision in enumerate(tell(policy, [(cause, 0.0) for cause, _ in story]), start=1):
        assert decision.counts.total == number
