"""Order and admission between sweeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduling.admission import Scheduler, decide
from orchestrator.scheduling.resources import (
    AdmissionDecision,
    AdmittedTrial,
    Bundle,
    Node,
    ResourceRequest,
    SweepState,
)


def request(bundle, ranks=1, **options):
    return ResourceRequest(bundle, ranks, rank_devices=bundle.gpus or bundle.cpus, **options)


GPU = request(Bundle(cpus=1, gpus=1))
NODE = Node("a", cpus=8, gpus=4, memory_gib=64)


def group(ranks, gpus=1.0, **options):
    return request(Bundle(cpus=1, gpus=gpus), ranks, **options)


def trials(count, request=GPU, *, nodes=("a",), **options):
    return tuple(
        AdmittedTrial(f"t{number}", request, nodes, seconds=100.0 + number, **options) for number in range(count)
    )


def sweep(name, *waiting, running=(), **options):
    return SweepState(name, running=running, waiting=tuple(waiting), **options)


def starts(grants):
    return {name: decision.start for name, decision in grants.items()}


def test_a_lone_sweep_gets_all_the_room_there_is():
    assert decide([NODE], [sweep("s", (GPU, 100))])["s"].start == 4


def test_ten_tenths_of_a_cpu_fill_one_cpu():
    assert decide([Node("a", cpus=1)], [sweep("s", (request(Bundle(cpus=0.1)), 100))])["s"].start == 10


def test_memory_and_kind_of_gpu_limit_what_starts():
    big = request(Bundle(cpus=1, memory_gib=40))
    kind = request(Bundle(cpus=1, gpus=1, gpu_kind="H200"))
    other = Node("b", cpus=8, gpus=2, gpu_kind="H200")
    assert starts(decide([NODE, other], [sweep("big", (big, 9)), sweep("kind", (kind, 9))])) == {"big": 1, "kind": 2}


def test_a_rank_never_spans_nodes_but_a_gang_does():
    two = [NODE, replace(NODE, node_id="b")]
    assert decide(two, [sweep("s", (group(1, gpus=8), 1))])["s"].impossible == (group(1, gpus=8),)
    assert decide(two, [sweep("s", (group(8), 1))])["s"].places == (("a",) * 4 + ("b",) * 4,)


def test_a_gang_lies_on_one_node_where_one_has_room():
    nodes = [replace(NODE, node_id=name) for name in "abc"]
    busy = sweep("busy", running=(*trials(1), *trials(2, nodes=("b",))))
    assert decide(nodes, [busy, sweep("s", (group(4), 1))])["s"].places == (("c",) * 4,)


def test_parts_of_a_gpu_lie_on_one_device():
    part = request(Bundle(cpus=1, gpus=0.6))
    assert decide([NODE], [sweep("s", (part, 9))])["s"].start == 4
    halves = request(Bundle(cpus=0.5, gpus=0.5))
    assert decide([NODE], [sweep("s", (halves, 9))])["s"].start == 8


def test_running_trials_of_unknown_place_take_room_where_they_fit_best():
    nodes = [NODE, replace(NODE, node_id="b", gpus=1)]
    assert decide(nodes, [sweep("s", (group(4), 1), running=trials(1, nodes=()))])["s"].places == (("a",) * 4,)


def test_ranks_on_a_node_that_is_gone_hold_nothing():
    assert decide([NODE], [sweep("s", (GPU, 9), running=trials(3, nodes=("gone",)))])["s"].start == 4


def test_a_single_trial_is_next_when_one_of_a_hundred_ends():
    holds = sweep("hundred", (GPU, 96), running=trials(3), device_seconds=50_000)
    assert starts(decide([NODE], [holds, sweep("single", (GPU, 1))])) == {"hundred": 0, "single": 1}


def test_the_sweep_that_used_less_is_first():
    used = [sweep("much", (GPU, 9), device_seconds=9e6), sweep("little", (GPU, 9), device_seconds=1e6)]
    assert starts(decide([NODE], used)) == {"much": 0, "little": 4}


def test_equal_sweeps_take_turns():
    assert starts(decide([NODE], [sweep("a", (GPU, 9)), sweep("b", (GPU, 9))])) == {"a": 2, "b": 2}


def test_higher_priorities_are_first_whatever_they_used():
    waiting = [sweep(name, (GPU, 2), priority=name, device_seconds=len(name)) for name in ("low", "normal", "high")]
    assert starts(decide([NODE], waiting)) == {"low": 0, "normal": 2, "high": 2}


def test_a_gang_keeps_what_becomes_free():
    small = sweep("small", (GPU, 50), running=trials(1), device_seconds=900)
    grants = decide([NODE], [small, sweep("gang", (group(4), 1))])
    assert starts(grants) == {"small": 0, "gang": 0}
    assert "4 ranks of 1 CPU, 1 GPU" in grants["gang"].why
    assert "sweep gang is ahead" in grants["small"].why


def test_small_trials_use_what_the_gang_does_not_need():
    small = [
        sweep("gpu", (GPU, 50), device_seconds=900),
        sweep("cpu", (request(Bundle(cpus=1)), 50), device_seconds=9),
    ]
    busy = sweep("busy", running=trials(1, group(1, gpus=3)))
    other = Node("b", cpus=2, gpus=2)
    whole = request(Bundle(cpus=1, gpus=4))
    grants = decide([NODE, other], [busy, sweep("gang", (whole, 1)), *small])
    assert starts(grants) == {"busy": 0, "gang": 0, "gpu": 2, "cpu": 6}
    assert set(grants["gpu"].places) == {("b",)}


def test_high_preempts_the_one_that_ran_the_shortest():
    grants = decide([NODE], [sweep("low", running=trials(4), priority="low"), sweep("h", (GPU, 1), priority="high")])
    assert grants["low"].preempt == ("t0",)
    assert "lower priority" in grants["h"].why


def test_high_preempts_low_before_normal():
    low = sweep("low", running=trials(1, group(2), nodes=("a", "a")), priority="low")
    running = sweep("normal", running=trials(2))
    grants = decide([NODE], [low, running, sweep("h", (GPU, 1), priority="high")])
    assert (grants["low"].preempt, grants["normal"].preempt) == (("t0",), ())


def test_high_preempts_no_more_than_it_needs():
    mixed = (
        AdmittedTrial("small", GPU, ("a",), seconds=1),
        AdmittedTrial("large", group(1, gpus=3), ("a",), seconds=2),
    )
    grants = decide([NODE], [sweep("low", running=mixed), sweep("h", (group(1, gpus=3), 1), priority="high")])
    assert grants["low"].preempt == ("large",)


def test_high_preempts_where_the_fewest_must_stop():
    others = (AdmittedTrial("whole", group(1, gpus=4), ("b",), seconds=9000),)
    running = (*trials(4), *others)
    nodes = [NODE, replace(NODE, node_id="b")]
    grants = decide(nodes, [sweep("low", running=running), sweep("h", (group(1, gpus=4), 1), priority="high")])
    assert grants["low"].preempt == ("whole",)


def test_high_preempts_for_a_gang_over_several_nodes():
    nodes = [replace(NODE, node_id=name, gpus=1) for name in "abc"]
    running = tuple(AdmittedTrial(name, GPU, (name,), seconds=ord(name)) for name in "abc")
    grants = decide(nodes, [sweep("low", running=running), sweep("h", (group(2), 1), priority="high")])
    assert grants["low"].preempt == ("a", "b")


def test_high_preempts_nothing_where_it_fits():
    grants = decide([NODE], [sweep("low", running=trials(3)), sweep("h", (GPU, 1), priority="high")])
    assert (grants["h"].start, grants["low"].preempt) == (1, ())


@pytest.mark.parametrize("priority", ["low", "normal"])
def test_only_high_preempts(priority):
    grants = decide([NODE], [sweep("low", running=trials(4), priority="low"), sweep("n", (GPU, 1), priority=priority)])
    assert grants["low"].preempt == ()


def test_high_preempts_neither_its_equals_nor_what_may_not_stop():
    equal = sweep("equal", running=trials(2), priority="high")
    fixed = sweep("fixed", running=trials(2, preemptible=False))
    grants = decide([NODE], [equal, fixed, sweep("h", (GPU, 1), priority="high")])
    assert (grants["equal"].preempt, grants["fixed"].preempt) == ((), ())


def test_high_preempts_nothing_where_stopping_does_not_help():
    fixed = sweep("fixed", running=trials(2, preemptible=False))
    low = sweep("low", running=trials(2))
    assert decide([NODE], [fixed, low, sweep("h", (group(4), 1), priority="high")])["low"].preempt == ()


def test_nobody_is_stopped_again_for_room_that_is_coming():
    stopping = (replace(trials(1)[0], stopping=True), *trials(4)[1:])
    high = sweep("h", (GPU, 1), priority="high")
    grants = decide([NODE], [sweep("low", (GPU, 9), running=stopping), high])
    assert (grants["low"].preempt, grants["low"].start, grants["h"].start) == ((), 0, 0)
    grants = decide([NODE], [sweep("low", (GPU, 9), running=stopping), replace(high, waiting=((GPU, 2),))])
    assert grants["low"].preempt == ("t1",)


def test_room_made_for_high_goes_to_high():
    low = sweep("low", (GPU, 50), running=trials(3), priority="low")
    grants = decide([NODE], [low, sweep("h", (group(2), 1), (GPU, 1), priority="high")])
    assert (grants["low"].preempt, grants["low"].start, grants["h"].start) == (("t0", "t1"), 0, 0)


def test_a_demand_that_no_node_can_hold_blocks_nobody():
    never = request(Bundle(gpus=1, gpu_kind="X"))
    grants = decide([NODE], [sweep("s", (never, 3), (GPU, 1)), sweep("never", (never, 1)), sweep("t", (GPU, 1))])
    assert starts(grants) == {"s": 1, "never": 0, "t": 1}
    assert grants["s"].impossible == (never,)
    assert "no node has 1 CPU, 1 GPU (X)" in grants["never"].why


def test_an_elastic_demand_waits_for_its_full_size_but_starts_smaller_where_that_can_never_be():
    elastic = group(4, min_ranks=2)
    busy = sweep("busy", running=trials(2))
    assert decide([NODE], [busy, sweep("s", (elastic, 1))])["s"].start == 0
    assert decide([replace(NODE, gpus=3)], [sweep("s", (elastic, 1))])["s"].places == (("a",) * 3,)


def test_an_empty_cluster_starts_nothing():
    assert decide([], [sweep("s", (GPU, 1))])["s"].start == 0


bundles = st.builds(
    Bundle,
    cpus=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    gpus=st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0]),
    memory_gib=st.sampled_from([0.0, 1.5, 8.0]),
    gpu_kind=st.sampled_from(["", "X"]),
)
requests = st.builds(request, bundles, ranks=st.sampled_from([1, 1, 2, 4]))
clusters = st.lists(
    st.builds(
        Node,
        node_id=st.uuids().map(str),
        cpus=st.sampled_from([1.0, 4.0, 8.0]),
        gpus=st.sampled_from([0.0, 1.0, 4.0]),
        memory_gib=st.sampled_from([4.0, 16.0]),
        gpu_kind=st.sampled_from(["", "X"]),
    ),
    max_size=4,
)


@st.composite
def waiting_sweeps(draw):
    return [
        SweepState(
            f"s{number}",
            draw(st.sampled_from(["low", "normal", "high"])),
            waiting=tuple(draw(st.lists(st.tuples(requests, st.integers(0, 3)), max_size=4))),
            device_seconds=draw(st.sampled_from([0.0, 10.0, 1e6])),
        )
        for number in range(draw(st.integers(1, 4)))
    ]


def obey(states, grants):
    """Carry out what was granted, as drivers would: start, and mark what must stop."""
    after = []
    for state in states:
        decision = grants[state.name]
        possible = [
            request for request, count in state.waiting for _ in range(count) if request not in decision.impossible
        ]
        never = tuple((request, count) for request, count in state.waiting if request in decision.impossible)
        started = tuple(
            AdmittedTrial(f"{state.name} {len(possible)} {number}", possible[number], nodes)
            for number, nodes in enumerate(decision.places)
        )
        running = tuple(replace(trial, stopping=trial.key in decision.preempt) for trial in state.running)
        after.append(
            replace(
                state,
                running=running + started,
                waiting=never + tuple((request, 1) for request in possible[decision.start :]),
            )
        )
    return after


def assert_within(nodes, states):
    """Count what each node holds, in exact tenths, and how many devices that takes at the very least."""
    for node in nodes:
        held = [
            trial.request.bundle
            for state in states
            for trial in state.running
            for place in trial.nodes
            if place == node.node_id
        ]
        assert sum(round(10 * bundle.cpus) for bundle in held) <= round(10 * node.cpus)
        assert sum(round(10 * bundle.gpus) for bundle in held) <= round(10 * node.gpus)
        assert sum(round(10 * bundle.memory_gib) for bundle in held) <= round(10 * node.memory_gib)
        assert all(bundle.gpu_kind in ("", node.gpu_kind) for bundle in held)


@settings(max_examples=200)
@given(clusters, waiting_sweeps(), st.randoms(use_true_random=False))
def test_never_more_than_fits_and_all_that_can_run_does(nodes, states, random):
    """Replay whole sweeps, ending trials at random: no deadlock, gangs whole, equals never stopped."""
    while True:
        grants = decide(nodes, states)
        before = any(trial for state in states for trial in state.running)
        states = obey(states, grants)
        assert_within(nodes, states)
        for state in states:
            assert all(len(trial.nodes) == trial.request.ranks for trial in state.running)
            assert state.priority != "high" or not grants[state.name].preempt
        running = [(state, trial) for state in states for trial in state.running]
        if not running:
            assert not before
            left = {request for state in states for request, count in state.waiting if count}
            assert left == {request for decision in grants.values() for request in decision.impossible}
            return
        stopping = [(state, trial) for state, trial in running if trial.stopping]
        ended_in, ended = random.choice(stopping or running)
        again = ((ended.request, 1),) if ended.stopping else ()
        states = [
            replace(
                state,
                running=tuple(trial for trial in state.running if trial is not ended),
                waiting=again + state.waiting,
            )
            if state is ended_in
            else state
            for state in states
        ]


@given(clusters, waiting_sweeps())
def test_the_same_reports_get_the_same_answer_in_any_order(nodes, states):
    assert decide(nodes, states) == decide(nodes, states[::-1])


@given(clusters, waiting_sweeps())
def test_room_for_a_lone_sweep_grows_with_its_nodes(nodes, states):
    """With one kind of demand; with gangs of several sizes a larger cluster may well hold fewer, larger ones."""
    request = next((request for request, count in states[0].waiting if count), GPU)
    one = sweep("s", (request, 40))
    assert decide(nodes, [one])["s"].start <= decide([*nodes, NODE], [one])["s"].start


def scheduler(*nodes, **options):
    return Scheduler(lambda: nodes or (NODE,), clock=lambda: 0.0, **options)


def test_what_was_granted_counts_before_it_is_reported():
    at = scheduler()
    assert at.report(sweep("a", (GPU, 3)), 0).start == 3
    assert at.report(sweep("b", (GPU, 3)), 1).start == 1
    assert at.report(sweep("c", (GPU, 3)), 1).start == 0


def test_a_sweep_that_left_or_fell_silent_holds_nothing():
    at = scheduler()
    at.report(sweep("a", (GPU, 4)), 0)
    assert at.report(sweep("b", (GPU, 4)), 30).start == 0
    assert at.report(sweep("b", (GPU, 4)), 31).start == 4
    at.leave("b")
    assert at.report(sweep("c", (GPU, 4)), 31).start == 4


def test_victims_learn_of_it_once_and_high_starts_when_they_are_gone():
    at = scheduler()
    low = sweep("low", (GPU, 9), running=trials(4), priority="low")
    high = sweep("h", (GPU, 1), priority="high")
    at.report(low, 0)
    assert at.report(high, 1).start == 0
    assert at.report(low, 2).preempt == ("t0",)
    assert at.report(high, 3).start == 0
    stopping = replace(low, running=(replace(low.running[0], stopping=True), *low.running[1:]))
    assert at.report(stopping, 4).preempt == ()
    assert at.report(replace(low, running=low.running[1:]), 5) == AdmissionDecision(
        why="waiting for resources (1 CPU, 1 GPU)"
    )
    assert at.report(high, 6).start == 1


def test_the_choice_of_a_victim_does_not_depend_on_who_reported_last():
    at = scheduler()
    first = sweep("first", running=trials(2), priority="low")
    second = sweep("second", running=trials(2, nodes=("a",)), priority="low")
    second = replace(second, running=tuple(replace(trial, seconds=trial.seconds + 0.5) for trial in second.running))
    at.report(first, 0)
    at.report(second, 0)
    at.report(sweep("h", (GPU, 1), priority="high"), 0)
    later = replace(first, running=tuple(replace(trial, seconds=trial.seconds + 2) for trial in first.running))
    assert at.report(later, 2).preempt == ("t0",)


def test_a_new_scheduler_decides_as_the_old_one_once_it_has_heard_from_all():
    states = [
        sweep("a", (GPU, 9), running=trials(2), device_seconds=500),
        sweep("b", (group(4), 2), device_seconds=20),
        sweep("c", (GPU, 9), running=trials(1)),
        sweep("h", (group(2), 1), priority="high"),
    ]
    old, new = scheduler(), scheduler(listen_seconds=5)
    for state in states:
        old.report(state, 0)
        assert new.report(state, 1).start == 0
    assert [new.report(state, 6) for state in states] == [old.report(state, 6) for state in states]
