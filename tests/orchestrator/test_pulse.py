"""What others can read of a driver while it runs, with the clock in the test's hands, and what they can ask of it."""

import json

import pytest

from command_line import SPEC
from orchestrator.admission import Node
from orchestrator.drivers import DRIVER, PULSE_SECONDS
from orchestrator.periodic import every
from orchestrator.plan import plan
from orchestrator.pulse import Pulse
from orchestrator.requests import Requests, request_retry, request_stop
from orchestrator.spec_file import spec_from_text
from workers.outcome import Outcome, Progress
from workers.store import Store, StoreError

TRIALS = plan(spec_from_text(SPEC, "spec")).trials


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def pulse(tmp_path):
    clock = Clock()
    nodes = [Node("a", cpus=4.0), Node("b", cpus=4.0, gpus=2.0)]
    folder = Store(tmp_path).sweep("tiny")
    shown = Pulse(folder, clock=clock)
    with shown.stage(TRIALS, lambda: nodes, used=5.0, seconds_left=lambda: 60.0):
        yield shown, clock, folder


def test_snapshot_says_how_the_sweep_stands(pulse):
    """Counts, devices in use, throughput between two looks, and device-seconds of all attempts."""
    shown, clock, _ = pulse
    first, second, third = (planned.trial_id for planned in TRIALS)
    for trial_id in (first, second, third):
        shown.started(trial_id, 1)
    shown.progressed(first, Progress(1.0, 4, -90.0, examples=100))
    clock.now += 10
    shown.progressed(first, Progress(2.0, 4, -80.0, examples=600))
    shown.ended(second, Outcome("done"))
    shown.interrupted(third, 1, "its worker died")
    shown.held_back("waits for 2 CPU")
    found = shown.snapshot()
    assert found["running"] == [
        {"trial_id": first, "epoch": 2.0, "epochs": 4, "elbo": -80.0, "seconds": 10.0, "ranks": 1}
    ]
    assert (found["waiting"], found["done"], found["failed"], found["interruptions"]) == (1, 1, 0, 1)
    assert found["devices"] == {"CPU": {"total": 8.0, "used": 2.0}, "GPU": {"total": 2.0, "used": 0.0}}
    assert (found["nodes"], found["state"], found["why"]) == (2, "running", "waits for 2 CPU")
    assert found["examples_per_second"] == 50.0
    assert found["device_seconds"] == 5.0 + 3 * 2 * 10
    assert found["seconds_left"] == 60.0


def test_states_are_waiting_running_stopping_and_ended(pulse):
    shown, _, folder = pulse
    assert shown.snapshot()["state"] == "waiting"
    shown.started(TRIALS[0].trial_id, 1)
    assert shown.snapshot()["state"] == "running"
    shown.stopping()
    assert shown.snapshot()["state"] == "stopping"
    with shown.beating():
        assert folder.read_json(DRIVER)["host"]
    assert folder.read_json(DRIVER)["state"] == "ended"


def test_a_driver_has_ended_after_its_last_stage(tmp_path):
    """Between stages, and while it reports, it runs on: who follows it must not leave."""
    folder = Store(tmp_path).sweep("tiny")
    shown = Pulse(folder, clock=Clock())
    with shown.beating():
        assert folder.read_json(DRIVER)["state"] == "running"
        with shown.stage(TRIALS, lambda: [Node("a", cpus=4.0)], used=5.0):
            assert folder.read_json(DRIVER)["state"] == "waiting"
            shown.started(TRIALS[0].trial_id, 1)
            shown.interrupted(TRIALS[0].trial_id, 1, "its node is gone")
        between = shown.snapshot()
        assert (between["state"], between["waiting"], between["nodes"]) == ("running", 0, 0)
        with shown.stage(TRIALS[:1], list, used=7.0):
            assert shown.snapshot()["device_seconds"] == 7.0
    ended = folder.read_json(DRIVER)
    assert (ended["state"], ended["interruptions"], ended["device_seconds"]) == ("ended", 1, 7.0)


def test_nodes_that_come_are_seen(tmp_path):
    nodes, clock = [Node("a", cpus=4.0)], Clock()
    shown = Pulse(Store(tmp_path).sweep("tiny"), clock=clock)
    with shown.stage(TRIALS, lambda: list(nodes)):
        nodes.append(Node("b", cpus=2.0))
        clock.now += PULSE_SECONDS
        shown.tick()
        assert shown.snapshot()["devices"]["CPU"] == {"total": 6.0, "used": 0}


def test_an_unwritable_store_stops_no_driver(tmp_path):
    """The file is a view: what cannot be written is left out."""
    shown = Pulse(Store(tmp_path).sweep("tiny"))
    (tmp_path / "sweeps").write_text("a file stands here")
    with shown.beating():
        json.dumps(shown.snapshot())


def test_requests_are_heard_once(tmp_path):
    """A stop and a retry are taken; a stop from before this driver is not for it."""
    store = Store(tmp_path)
    request_stop(store, "tiny")
    with store.sweep("tiny").try_lock() as hold:
        requests = Requests(store, "tiny", hold)
        requests.look()
        assert not requests.stop.made
        request_retry(store, "tiny")
        requests.look()
        assert [requests.take_retry(), requests.take_retry()] == [True, False]
        request_stop(store, "tiny")
        requests.look()
        assert requests.stop.made
        requests.look()
        assert not requests.take_retry()


def test_a_driver_that_lost_its_sweep_stops(tmp_path):
    class Taken:
        def lost(self) -> bool:
            return True

    requests = Requests(Store(tmp_path), "tiny", Taken())
    assert not requests.stop.made
    requests.look()
    assert requests.stop.made


def test_a_store_that_is_away_is_looked_at_again(tmp_path):
    calls = []

    def fail_first():
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("store: away")

    with every(0.01, fail_first):
        while len(calls) < 3:
            pass
