"""Leases: one holder at a time, taken over from dead holders, lost by late ones, whatever the clocks say."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from fault_proxy import Answer, Late, LoseAnswer
from workers.outcome import Outcome
from workers.running.run import run_trial
from workers.store.lease import Leases, Version, elapsed
from workers.store.store import LockLost, Store, StoreError

LEASE = 3

HOLDER = """
import sys, time
from workers.store.store import LockLost, Store
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


def is_put(request) -> bool:
    return request.method == "PUT"


def test_a_lock_is_held_by_one_and_free_afterwards(url, object_server, bucket_prefix):
    """While one process has it, others do not get it; afterwards an empty object is left, as on a disk a file."""
    folder, other = Store.at(url).sweep("s"), Store.at(url).sweep("s")
    with folder.try_lock() as held:
        assert held is not None
        assert not held.lost()
        assert folder.is_locked()
        with other.try_lock() as second:
            assert second is None
    assert not folder.is_locked()
    assert folder.sizes([".lock/lease"]) == {".lock/lease": 0}
    assert object_server.keys(bucket_prefix) == ["sweeps/s/.lock/lease"]
    with other.try_lock() as held:
        assert held is not None


def test_of_many_that_ask_at_once_one_gets_it(object_server, bucket_prefix):
    """Forty threads ask for a free lock at the same moment: one holds it."""
    url = object_server.url(bucket_prefix, lease_seconds=600)
    start, tried, holders = threading.Barrier(40), threading.Barrier(40), []

    def ask() -> None:
        folder = Store.at(url).sweep("s")
        start.wait()
        with folder.try_lock() as held:
            if held is not None:
                holders.append(held)
            tried.wait()

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holders) == 1
    assert not Store.at(url).sweep("s").is_locked()


def test_a_killed_holder_is_taken_over(url):
    """The lock of a process that was killed is not free at once, and is after a lease without renewals."""
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
    assert folder.read("committed") == b"by the second"
    assert not folder.is_locked()


def test_a_commit_that_arrives_late_replaces_nothing(object_server, bucket_prefix, s3_proxy, url):
    """What a process sent while it had the lock does not replace what its successor has committed since."""
    first = Store.at(object_server.url(bucket_prefix, s3_proxy.port, lease_seconds=LEASE)).sweep("s")
    second = Store.at(url).sweep("s")
    with first.try_lock() as held:
        assert held is not None
        s3_proxy.inject(Late(), matches=lambda request: is_put(request) and request.path.endswith("committed"))
        with pytest.raises(StoreError):
            first.commit("committed", b"by the first")
    with second.try_lock() as held:
        assert held is not None
        second.commit("committed", b"by the second")
    s3_proxy.clear()
    assert len(s3_proxy.requests(Late)) > 1
    assert second.read("committed") == b"by the second"


def test_a_commit_replaces_what_was_committed_before(url):
    """Whoever has the lock commits again: a trial is measured more than once."""
    folder = Store.at(url).sweep("s")
    for content in (b"first", b"second"):
        with folder.try_lock() as held:
            assert held is not None
            folder.commit("committed", content)
        assert folder.read("committed") == content


def test_a_commit_whose_answer_is_lost_is_one(object_server, bucket_prefix, s3_proxy):
    """The server has it, and says so when it is asked again."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).sweep("s")
    with folder.try_lock() as held:
        assert held is not None
        s3_proxy.inject(LoseAnswer(), count=1, matches=lambda request: request.path.endswith("committed"))
        s3_proxy.inject(LoseAnswer(), count=1, matches=lambda request: is_put(request) and "committed" in request.path)
        folder.commit("committed", b"x")
    assert len(s3_proxy.requests(LoseAnswer)) == 2
    assert folder.read("committed") == b"x"


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
    """A renewal that fails and one whose answer is lost lose nothing."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port, lease_seconds=20)).sweep("s")
    with folder.try_lock() as held:
        s3_proxy.inject(Answer(500), count=1, matches=is_put)
        s3_proxy.inject(LoseAnswer(), count=1, matches=is_put)
        while len([request for request in s3_proxy.requests() if is_put(request)]) < 4:
            time.sleep(0.05)
        assert held.confirm()
        folder.write("name", b"x")
    assert folder.read("name") == b"x"


def test_a_lock_is_given_back_though_the_first_tries_fail(object_server, bucket_prefix, s3_proxy):
    """Else who comes next would wait for a lease of time."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).sweep("s")
    with folder.try_lock() as held:
        assert held
        s3_proxy.inject(Answer(500), count=2, matches=is_put)
    assert len(s3_proxy.requests(Answer)) == 2
    with Store.at(object_server.url(bucket_prefix)).sweep("s").try_lock() as held:
        assert held


def test_a_lock_whose_answer_was_lost_is_given_back(object_server, bucket_prefix, s3_proxy):
    """A process that does not know whether it got the lock leaves none behind."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).sweep("s")
    s3_proxy.inject(LoseAnswer(), count=1, matches=is_put)
    with pytest.raises(StoreError), folder.try_lock():
        pass
    with folder.try_lock() as held:
        assert held


def test_leases_of_earlier_releases_do_not_block(url, object_server, bucket_prefix):
    """The objects that killed processes of an earlier release left, and its marks for folders, keep nobody out."""
    folder = Store.at(url).sweep("s")
    inside = f"{bucket_prefix.removeprefix('s3://results/')}/sweeps/s/.lock/"
    for name in ("", f"{'0f' * 8}-60", f"{'1e' * 8}-3"):
        object_server.client.put_object(Bucket="results", Key=inside + name, Body=b"{}" if name else b"")
    with folder.try_lock() as held:
        assert held is not None


def test_a_lock_that_was_removed_by_hand_is_lost(url):
    """Who deletes the object of a lease takes the lock away."""
    folder, other = Store.at(url).sweep("s"), Store.at(url)
    with folder.try_lock() as held:
        for name in other.files.names("sweeps/s/.lock", "*"):
            other.files.remove(f"sweeps/s/.lock/{name}")
        while not held.lost():
            time.sleep(0.05)
        with pytest.raises(LockLost):
            folder.write("name", b"x")


class Memory:
    """A lock's object that a test can change at any moment."""

    def __init__(self) -> None:
        self.version = None
        self.before_reading = lambda: None
        self.before_writing = lambda: None

    def other_writes(self, seconds: float) -> None:
        tag = int(self.version.tag) + 1 if self.version else 0
        self.version = Version(str(tag), json.dumps({"holder": "other", "seconds": seconds}).encode())

    def read_version(self, _):
        self.before_reading()
        return self.version

    def write_over(self, _, content, before):
        self.before_writing()
        if self.version != before:
            return False
        self.version = Version(str(int(before.tag) + 1) if before else "0", content)
        return True


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "expired"])
def test_one_that_is_slower_does_not_get_it(is_new):
    """Where another process took the lock after this one saw it free or expired, that one keeps it."""
    memory, now = Memory(), [0.0]
    leases = Leases(memory, "lease", 60.0, clock=lambda: now[0])
    if not is_new:
        memory.other_writes(60.0)
        with leases.try_acquire() as held:
            assert held is None
        now[0] = 60.0
    memory.before_writing = lambda: memory.other_writes(60.0)
    with leases.try_acquire() as held:
        assert held is None
    assert b"other" in memory.version.content


def test_one_that_was_paused_while_it_asked_takes_nothing_over():
    """An answer that took an hour tells nothing of the time since: a living holder keeps its lock."""
    memory, now = Memory(), [0.0]
    observer = Leases(memory, "lease", 60.0, clock=lambda: now[0])
    memory.other_writes(60.0)

    def pause() -> None:
        now[0] += 3600.0

    for _ in range(3):
        with observer.try_acquire() as held:
            assert held is None
        memory.other_writes(60.0)
    memory.before_reading = pause
    with observer.try_acquire() as held:
        assert held is None
    assert observer.renewal_seen


def test_the_holders_lease_is_the_one_that_counts():
    """A process of shorter leases waits for a holder as long as that one's lease says."""
    memory, now = Memory(), [0.0]
    memory.other_writes(60.0)
    observer = Leases(memory, "lease", 5.0, clock=lambda: now[0])
    for now[0] in (0.0, 30.0, 59.0):
        with observer.try_acquire() as held:
            assert held is None
    now[0] = 60.0
    with observer.try_acquire() as held:
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
