"""Leases: one holder at a time, taken over from the dead, given up by the late, whatever the clocks say."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from fault_proxy import Answer
from workers.lease import Leases, elapsed
from workers.outcome import Outcome
from workers.run import run_trial
from workers.store import LockLost, Store

LEASE = 3

RACER = """
import sys, time
from workers.store import Store
folder = Store.at(sys.argv[1]).sweep("raced")
for line in sys.stdin:
    number = line.strip()
    held = None
    while held is None and folder.read("done-" + number) is None:
        with folder.try_lock() as held:
            if held is not None:
                assert folder.read("inside") is None, "two hold it"
                folder.write("inside", sys.argv[2].encode())
                time.sleep(0.02)
                assert folder.read("inside") == sys.argv[2].encode(), "two hold it"
                folder.remove("inside")
                folder.write("done-" + number, sys.argv[2].encode())
    print("ended", flush=True)
"""
HOLDER = """
import sys, time
from workers.store import LockLost, Store
folder = Store.at(sys.argv[1]).sweep("held")
with folder.try_lock() as held:
    print(held is not None, flush=True)
    sys.stdin.readline()
    try:
        folder.write("committed", b"by the first")
        print("committed", flush=True)
    except LockLost as error:
        print("lost:", error, flush=True)
"""


@pytest.fixture
def url(object_server, bucket_prefix) -> str:
    return object_server.url(bucket_prefix, lease_seconds=LEASE)


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def take_over(folder, tries: int = 10_000):
    """Ask for the lock until it is held, and return its holder, entered."""
    for _ in range(tries):
        lock = folder.try_lock()
        if (held := lock.__enter__()) is not None:
            return lock, held
        lock.__exit__(None, None, None)
        time.sleep(0.05)
    raise AssertionError("never free")


def test_a_lock_is_held_by_one_and_free_afterwards(url):
    """While one holds it others do not get it; what it wrote for it is gone afterwards."""
    folder, other = Store.at(url).sweep("s"), Store.at(url).sweep("s")
    with folder.try_lock() as held:
        assert held is not None
        assert not held.lost()
        assert folder.is_locked()
        with other.try_lock() as second:
            assert second is None
    assert not folder.is_locked()
    assert not folder.exists()
    with other.try_lock() as held:
        assert held is not None


def test_one_of_two_racing_processes_holds_it(url):
    """Over many rounds both start at once; each round is done, and never do two hold the lock."""
    rounds = 25
    racers = [start(RACER, url, name) for name in ("a", "b")]
    try:
        for number in range(rounds):
            for racer in racers:
                racer.stdin.write(f"{number}\n")
                racer.stdin.flush()
            assert [racer.stdout.readline() for racer in racers] == ["ended\n"] * 2
    finally:
        for racer in racers:
            racer.communicate(timeout=60)
    folder = Store.at(url).sweep("raced")
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(folder.names("done-*")) == rounds


def test_a_killed_holder_is_taken_over(url):
    """The lock of a process that was killed is not free at once, and is after a lease without heartbeats."""
    folder = Store.at(url).sweep("held")
    process = start(HOLDER, url)
    assert process.stdout.readline() == "True\n"
    with folder.try_lock() as held:
        assert held is None
    process.kill()
    process.communicate()
    with folder.try_lock() as held:
        assert held is None
    lock, held = take_over(folder)
    assert not held.lost()
    lock.__exit__(None, None, None)


def test_a_paused_holder_notices_and_commits_nothing(url):
    """A process that is stopped for longer than its lease finds it lost when it wakes, and writes nothing."""
    folder = Store.at(url).sweep("held")
    process = start(HOLDER, url)
    try:
        assert process.stdout.readline() == "True\n"
        process.send_signal(signal.SIGSTOP)
        lock, _ = take_over(folder)
        folder.write("committed", b"by the second")
        lock.__exit__(None, None, None)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate("go on\n", timeout=60)
    finally:
        process.kill()
    assert out.startswith("lost: store: the lease on s3://")
    assert "another process may go on" in out
    assert folder.read("committed") == b"by the second"
    assert not folder.is_locked()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_changes_nothing(url, monkeypatch, hours):
    """A holder is alive whatever the time of day is here; only the display of what runs goes by it."""
    process = start(HOLDER, url)
    try:
        assert process.stdout.readline() == "True\n"
        shifted = time.time
        monkeypatch.setattr(time, "time", lambda: shifted() + 3600 * hours)
        folder = Store.at(url).sweep("held")
        until = elapsed() + 2 * LEASE
        while elapsed() < until:
            with folder.try_lock() as held:
                assert held is None
            time.sleep(0.1)
        assert folder.holder_lives()
        out, _ = process.communicate("commit\n", timeout=60)
    finally:
        process.kill()
    assert out == "committed\n"


def test_a_holder_that_cannot_renew_stops_before_others_begin(object_server, bucket_prefix, s3_proxy):
    """Cut off from the object store, a holder finds its lease lost, and by then nobody else has had it."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port, lease_seconds=LEASE)).sweep("s")
    other = Store.at(object_server.url(bucket_prefix, lease_seconds=LEASE)).sweep("s")
    with folder.try_lock() as held:
        s3_proxy.inject(Answer(503))
        while not held.lost():
            with other.try_lock() as second:
                assert second is None or held.lost()
            time.sleep(0.02)
        s3_proxy.clear()
        with pytest.raises(LockLost):
            folder.write("name", b"x")
        lock, _ = take_over(other)
        with pytest.raises(LockLost):
            folder.remove("name")
        lock.__exit__(None, None, None)


def test_an_outage_shorter_than_the_lease_is_survived(object_server, bucket_prefix, s3_proxy):
    """Some heartbeats that fail lose nothing."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port, lease_seconds=20)).sweep("s")
    with folder.try_lock() as held:
        s3_proxy.inject(Answer(500), count=2)
        while len([request for request in s3_proxy.requests() if request.method == "PUT"]) < 3:
            time.sleep(0.05)
        assert not held.lost()
        folder.write("name", b"x")
    assert folder.read("name") == b"x"


def test_a_lock_is_given_back_though_the_first_tries_fail(object_server, bucket_prefix, s3_proxy):
    """Else who comes next would wait for a lease of time."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).sweep("s")
    with folder.try_lock() as held:
        assert held
        s3_proxy.inject(Answer(500), count=2, matches=lambda request: request.method == "DELETE")
    assert len(s3_proxy.requests(Answer)) == 2
    with Store.at(object_server.url(bucket_prefix)).sweep("s").try_lock() as held:
        assert held


def test_a_lock_that_was_removed_by_hand_is_lost(url):
    """Who deletes a holder's candidate takes the lock away."""
    folder, other = Store.at(url).sweep("s"), Store.at(url)
    with folder.try_lock() as held:
        for name in other.files.names("sweeps/s/.lock", "*"):
            other.files.remove(f"sweeps/s/.lock/{name}")
        while not held.lost():
            time.sleep(0.05)
        with pytest.raises(LockLost):
            folder.write("name", b"x")


class Memory:
    """Candidates of a lock that a test can order about, with a clock of the server's own."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, int]] = {}
        self.puts = 0
        self.before_listing = lambda: None

    def beats(self):
        self.before_listing()
        return dict(self.objects)

    def put(self, name, content) -> None:
        self.puts += 1
        self.objects[name] = (self.puts, len(content))

    def remove(self, name) -> None:
        self.objects.pop(name, None)


def test_one_that_sees_another_beside_it_withdraws():
    """Where another candidate came between the first look and the second, the lock is not held, and nothing is left."""
    memory = Memory()
    other = "11" * 8 + "-60"

    def other_stands() -> None:
        if memory.puts:
            memory.objects[other] = (99, 1)

    memory.before_listing = other_stands
    with Leases(memory, 60.0).try_hold() as held:
        assert held is None
    assert list(memory.objects) == [other]


def test_one_that_was_paused_while_it_looked_kills_nobody():
    """A look that took an hour tells nothing of the time since: the living stay."""
    memory = Memory()
    now = [0.0]
    watcher = Leases(memory, 60.0, clock=lambda: now[0])
    memory.put("00" * 8 + "-60", b"")

    def pause() -> None:
        now[0] += 3600.0

    for _ in range(3):
        with watcher.try_hold() as held:
            assert held is None
        memory.put("00" * 8 + "-60", b"")
    memory.before_listing = pause
    with watcher.try_hold() as held:
        assert held is None
    assert list(memory.objects) == ["00" * 8 + "-60"]


def test_the_holders_lease_is_the_one_that_counts():
    """A process of shorter leases waits for a holder as long as that one's lease says."""
    memory = Memory()
    now = [0.0]
    memory.put("00" * 8 + "-60", b"")
    watcher = Leases(memory, 5.0, clock=lambda: now[0])
    for now[0] in (0.0, 30.0, 59.0):
        with watcher.try_hold() as held:
            assert held is None
    now[0] = 60.0
    with watcher.try_hold() as held:
        assert held is not None


def test_a_trial_whose_lease_is_lost_ends_as_interrupted(make_trial, make_context, object_server, bucket_prefix):
    """The worker stops without committing, and whoever takes over finishes the trial."""
    url = object_server.url(bucket_prefix, lease_seconds=LEASE)
    trial = make_trial()
    thief = Store.at(url)
    folder = f"trials/{trial.trial_id}/.lock"

    def steal() -> bool:
        for name in thief.files.names(folder, "*"):
            thief.files.remove(f"{folder}/{name}")
        # Stopping is never asked for: the loss alone ends it.
        time.sleep(0.3)
        return False

    outcome = run_trial(trial, make_context(trial, store=Store.at(url), should_stop=steal))
    assert outcome.state == "interrupted"
    assert "the lease on s3://" in outcome.message
    assert thief.trial(trial.trial_id).manifest() is None
    assert run_trial(trial, make_context(trial, store=thief)) == Outcome("done")


def test_threads_of_one_process_exclude_each_other(url):
    """A lease is of its holder, not of the process: a counter behind it loses no step."""
    store = Store.at(url)
    store.sweep("s").write_json("count", 0)

    def count() -> None:
        folder = Store.at(url).sweep("s")
        for _ in range(3):
            lock, _ = take_over(folder)
            value = folder.read_json("count")
            time.sleep(0.01)
            folder.write_json("count", value + 1)
            lock.__exit__(None, None, None)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(store.sweep("s").read("count")) == 9
