"""A driver's status for other machines, by a clock that the test sets, and the requests it takes from them."""

import pytest

from command_line import SPEC
from orchestrator.driver.heartbeat import Heartbeat
from orchestrator.monitoring.driver_status import DRIVER, HEARTBEAT_SECONDS, RunningTrial, read_driver
from orchestrator.planning.plan import plan
from orchestrator.scheduling.resources import Node
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.control_files import ControlFiles, request_retry, request_stop
from workers.outcome import Outcome, Progress
from workers.store.periodic import every
from workers.store.store import Store, StoreError

TRIALS = plan(spec_from_text(SPEC, "spec")).trials


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def heartbeat(tmp_path):
    clock = Clock()
    nodes = [Node("a", cpus=4.0), Node("b", cpus=4.0, gpus=2.0)]
    folder = Store(tmp_path).sweep("tiny")
    shown = Heartbeat(folder, clock=clock)
    seconds = dict.fromkeys([planned.trial_id for planned in TRIALS], 10.0)
    with shown.stage(TRIALS, lambda: nodes, used=5.0, seconds=seconds, slots=2):
        yield shown, clock, folder


def test_snapshot_says_how_the_sweep_stands(heartbeat):
    """Counts, devices in use, throughput between two reports, and device-seconds of all attempts."""
    shown, clock, _ = heartbeat
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
    assert found.running == (RunningTrial(first, epoch=2.0, epochs=4, elbo=-80.0, seconds=10.0, ranks=1),)
    assert (found.waiting, found.done, found.failed, found.interruptions) == (1, 1, 0, 1)
    assert found.devices == {"CPU": (2.0, 8.0), "GPU": (0.0, 2.0)}
    assert (found.nodes, found.state, found.why) == (2, "running", "waits for 2 CPU")
    assert found.examples_per_second == 50.0
    assert found.elapsed_seconds == 10.0
    assert found.device_seconds == 5.0 + 3 * 10


def test_the_file_has_the_snapshot(heartbeat):
    """Under the names that earlier releases wrote and read."""
    shown, clock, folder = heartbeat
    shown.started(TRIALS[0].trial_id, 2)
    clock.now += 10
    with shown.kept_up():
        assert read_driver(Store(folder.files), "tiny") == shown.snapshot()
        record = folder.read_json(DRIVER)
    assert record["devices"] == {"CPU": {"used": 4.0, "total": 8.0}, "GPU": {"used": 0.0, "total": 2.0}}
    assert record["running"][0] == {
        "trial_id": TRIALS[0].trial_id, "epoch": 0.0, "epochs": 0, "elbo": None, "seconds": 10.0, "ranks": 2
    }  # fmt: skip
    assert record.keys() >= {
        "at", "host", "pid", "job", "state", "why", "nodes", "waiting", "done", "failed", "interruptions",
        "preemptions", "examples_per_second", "seconds_left", "device_seconds",
    }  # fmt: skip


def test_time_left_follows_what_is_measured(heartbeat):
    """Expectations count at first; then what runs and what ended corrects them."""
    shown, clock, _ = heartbeat
    first, second, third = (planned.trial_id for planned in TRIALS)
    assert shown.snapshot().seconds_left == pytest.approx(30 / 2)
    shown.started(first, 1)
    shown.started(second, 1)
    clock.now += 10.0
    for trial_id in (first, second):
        shown.progressed(trial_id, Progress(1.0, 4, -1.0))
    # A quarter of each took 10 s in place of 2.5: what is left takes four times as long as expected.
    assert shown.snapshot().seconds_left == pytest.approx(25 * 4 / 2)
    clock.now += 30.0
    for trial_id in (first, second):
        shown.ended(trial_id, Outcome("done"))
    assert shown.snapshot().seconds_left == pytest.approx(10 * 4 / 2)
    shown.ended(third, Outcome("failed"))
    assert shown.snapshot().seconds_left is None


def test_states_are_waiting_running_stopping_and_ended(heartbeat):
    shown, _, folder = heartbeat
    assert shown.snapshot().state == "waiting"
    shown.started(TRIALS[0].trial_id, 1)
    assert shown.snapshot().state == "running"
    shown.stopping()
    assert shown.snapshot().state == "stopping"
    with shown.kept_up():
        assert folder.read_json(DRIVER)["host"]
    assert folder.read_json(DRIVER)["state"] == "ended"


def test_a_driver_has_ended_after_its_last_stage(tmp_path):
    """Between stages, and while it reports, it runs on: who follows it must not leave."""
    folder = Store(tmp_path).sweep("tiny")
    shown = Heartbeat(folder, clock=Clock())
    with shown.kept_up():
        assert folder.read_json(DRIVER)["state"] == "running"
        with shown.stage(TRIALS, lambda: [Node("a", cpus=4.0)], used=5.0):
            assert folder.read_json(DRIVER)["state"] == "waiting"
            shown.started(TRIALS[0].trial_id, 1)
            shown.interrupted(TRIALS[0].trial_id, 1, "its node is gone")
        between = shown.snapshot()
        assert (between.state, between.waiting, between.nodes) == ("running", 0, 0)
        with shown.stage(TRIALS[:1], list, used=7.0):
            assert shown.snapshot().device_seconds == 7.0
    ended = folder.read_json(DRIVER)
    assert (ended["state"], ended["interruptions"], ended["device_seconds"]) == ("ended", 1, 7.0)


def test_nodes_that_come_are_seen(tmp_path):
    nodes, clock = [Node("a", cpus=4.0)], Clock()
    shown = Heartbeat(Store(tmp_path).sweep("tiny"), clock=clock)
    with shown.stage(TRIALS, lambda: list(nodes)):
        nodes.append(Node("b", cpus=2.0))
        clock.now += HEARTBEAT_SECONDS
        shown.tick()
        assert shown.snapshot().devices["CPU"] == (0, 6.0)


def test_an_unwritable_store_stops_no_driver(tmp_path):
    """The file is a view: what cannot be written is left out."""
    shown = Heartbeat(Store(tmp_path).sweep("tiny"))
    (tmp_path / "sweeps").write_text("a file, where a folder should be")
    with shown.kept_up():
        assert shown.snapshot().state == "running"


def test_requests_are_heard_once(tmp_path):
    """A stop and a retry are taken; a stop from before this driver is not for it."""
    store = Store(tmp_path)
    request_stop(store, "tiny")
    with store.sweep("tiny").try_lock() as lock:
        requests = ControlFiles(store, "tiny", lock)
        requests.read()
        assert not requests.stop.is_set()
        request_retry(store, "tiny")
        requests.read()
        assert [requests.take_retry(), requests.take_retry()] == [True, False]
        request_stop(store, "tiny")
        requests.read()
        assert requests.stop.is_set()
        requests.read()
        assert not requests.take_retry()


def test_a_driver_that_lost_its_sweep_stops(tmp_path):
    class LostLock:
        def lost(self) -> bool:
            return True

    requests = ControlFiles(Store(tmp_path), "tiny", LostLock())
    assert not requests.stop.is_set()
    requests.read()
    assert requests.stop.is_set()


def test_a_store_that_is_away_is_looked_at_again(tmp_path):
    calls = []

    def fail_first():
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("store: away")

    with every(0.01, fail_first):
        while len(calls) < 3:
            pass
