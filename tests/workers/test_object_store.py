"""The store on S3: the same results as on a disk, whole objects whatever fails, and errors that end."""

import hashlib
import itertools
import threading

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import wait_until
from evaluation.records import Point, from_parquet
from fault_proxy import Answer, Cut, CutAnswer, CutRequest, Delay, LoseAnswer, Slow
from workers.checkpoint import FINAL
from workers.metric_log import MetricLog, log_bytes, log_id, log_in, read_entries
from workers.object_files import SINGLE_PUT_BYTES, ObjectFiles, ObjectPlace
from workers.outcome import Outcome
from workers.run import run_trial
from workers.store import Manifest, Store, StoreError

TRIAL = "ab" * 32
BIG = 3 * SINGLE_PUT_BYTES
SHORT = 2.0


@pytest.fixture
def store(object_server, bucket_prefix) -> Store:
    return Store.at(object_server.url(bucket_prefix))


@pytest.fixture
def broken(object_server, bucket_prefix, s3_proxy, monkeypatch) -> Store:
    """The same store behind the proxy, with waits that a test can afford."""
    monkeypatch.setattr("workers.object_files.ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("workers.object_files.TRIES", 2)
    return Store.at(object_server.url(bucket_prefix, s3_proxy.port))


def finished_trial(store: Store):
    folder = store.trial(TRIAL)
    files = {name: folder.write(name, content) for name, content in {"a.bin": b"1234", "points/b": b"5"}.items()}
    manifest = Manifest(TRIAL, files, attempts=1, started_at=0.0, finished_at=1.0, parameters=3, evaluations=["e"])
    folder.write("manifest.json", manifest.to_bytes())
    return folder, manifest


NAMES = st.sampled_from(["a", "b.json", "sub/a", "sub/c.parquet", "sub/deep/x", ".hidden", "ü b"])
CONTENT = st.binary(max_size=30)
PATTERNS = st.sampled_from(["*", "sub/*", "*/*.parquet", "b.*", "sub/deep/?", "*/*/*", "nothing/*"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, CONTENT),
        st.tuples(st.sampled_from(["read", "remove", "exists", "read_json"]), NAMES),
        st.tuples(st.just("names"), PATTERNS),
        st.tuples(st.just("sizes"), st.lists(NAMES, max_size=3)),
        st.tuples(st.sampled_from(["is_locked", "remove_unfinished"])),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_a_disk_and_an_object_store_show_the_same(tmp_path_factory, object_server, operations):
    """Whatever is written, read, removed and listed, in any order, both places give the same answers."""
    folders = [
        Store(tmp_path_factory.mktemp("store")).sweep("s"),
        Store.at(object_server.url(object_server.new_prefix())).sweep("s"),
    ]
    for name, *arguments in operations:
        if name == "remove_unfinished":
            found = [folder.files.remove_unfinished("sweeps/s") for folder in folders]
        else:
            found = [getattr(folder, name)(*arguments) for folder in folders]
        # A folder matches on a disk and is nothing on an object store: names are asked for with files in mind.
        if name == "names":
            found[0] = [each for each in found[0] if (folders[0].path / each).is_file()]
        assert found[0] == found[1], (name, arguments)


def test_a_manifest_verifies_with_one_listing(object_server, bucket_prefix, s3_proxy):
    """Reading the state of a done trial takes the manifest and one listing, however many files it names."""
    _, manifest = finished_trial(Store.at(object_server.url(bucket_prefix)))
    seen = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).trial(TRIAL).manifest()
    assert seen == manifest
    assert [request.method for request in s3_proxy.requests()] == ["HEAD", "GET", "GET"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "manifest cut"])
def test_damaged_trial_is_not_done(store, damage):
    """Whatever is missing or cut, the trial counts as not done."""
    folder, manifest = finished_trial(store)
    if damage == "missing":
        folder.remove("points/b")
    elif damage == "truncated":
        folder.write("a.bin", b"12")
    else:
        folder.write("manifest.json", manifest.to_bytes()[:-20])
    assert folder.manifest() is None


def test_sweeps_trials_and_the_next_to_ask_for_are_found(store):
    """Sweeps are those with a spec, finished trials those with a manifest."""
    store.sweep("one").write("spec.yaml", b"x")
    store.sweep("two").write("other", b"x")
    finished_trial(store)
    store.trial("cd" * 32).write("trial.json", b"{}")
    assert store.sweep_names() == ["one"]
    assert [folder.trial_id for folder in store.finished_trials()] == [TRIAL]
    assert store.trial("cd" * 32).exists()
    assert not store.trial("ef" * 32).exists()


@pytest.mark.parametrize("size", [SINGLE_PUT_BYTES - 1, BIG], ids=["one PUT", "several parts"])
@pytest.mark.parametrize(
    "fault", [Answer(500), Answer(503), Cut(), CutRequest(10**6)], ids=["500", "503", "cut", "cut body"]
)
def test_a_failed_write_leaves_the_old_object(store, broken, s3_proxy, size, fault):
    """The write is one clear error, and readers see what was there before."""
    store.sweep("s").write("name", b"old")
    s3_proxy.inject(fault, matches=lambda request: request.method in ("PUT", "POST"))
    with pytest.raises(StoreError, match=r"store: cannot use s3://results/.*/sweeps/s/name"):
        broken.sweep("s").write("name", bytes(size))
    assert store.sweep("s").read("name") == b"old"


@pytest.mark.parametrize("part", [1, 2, 3])
def test_an_upload_whose_later_part_fails_shows_no_part(store, broken, s3_proxy, part):
    """A large file of which the server took the first parts is not seen in part; what it keeps can be cleared away.

    The server may end the upload after the writer has given up waiting for that, so under a temporary name something
    can come to lie later than the writer's own clearing.
    """
    store.sweep("s").write("big", b"old")
    s3_proxy.inject(Answer(500), matches=lambda request: f"partNumber={part}" in request.path)
    with pytest.raises(StoreError):
        broken.sweep("s").write("big", bytes(BIG))
    assert store.sweep("s").read("big") == b"old"

    def cleared() -> bool:
        store.files.remove_unfinished("sweeps/s")
        return list(store.files._listed("sweeps/s", recursive=True)) == ["big"]

    wait_until(cleared)
    assert store.sweep("s").read("big") == b"old"


def test_large_files_come_back_whole(store):
    """A file of several parts is there under its name, and its temporary name is not."""
    content = bytes(range(256)) * (BIG // 256)
    stored = store.sweep("s").write("big", content)
    assert store.sweep("s").read("big") == content
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert list(store.files._listed("sweeps/s", recursive=True)) == ["big"]


def test_a_killed_upload_is_cleared_away(store):
    """A temporary object that a killed writer has left is removed by the next holder of the lock."""
    folder = store.trial(TRIAL)
    folder.write("checkpoint/.step.0a.tmp", b"half")
    folder.write("kept", b"x")
    folder.remove_unfinished_files()
    assert list(store.files._listed(f"trials/{TRIAL}", recursive=True)) == ["kept"]


@pytest.mark.parametrize(
    "fault",
    [Answer(500), Answer(503), Cut(), LoseAnswer(), Delay(0.3), CutAnswer(40), Slow(20_000)],
    ids=["500", "503", "cut", "lost answer", "late", "cut answer", "slow"],
)
def test_what_passes_is_tried_again(object_server, bucket_prefix, s3_proxy, fault):
    """A fault that a second try does not meet is not seen by anyone."""
    folder = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).sweep("s")
    s3_proxy.inject(fault, count=1)
    folder.write("name", b"content")
    s3_proxy.inject(fault, count=1)
    assert folder.read("name") == b"content"
    s3_proxy.inject(fault, count=1)
    assert folder.names("*") == ["name"]


@pytest.mark.parametrize("way", ["refuses", "never answers"])
def test_a_dead_server_is_an_error_and_no_hang(broken, s3_proxy, way):
    """Reads, writes, listings and locks of a server that is gone end with what to look at."""
    if way == "refuses":
        s3_proxy.refuse()
    else:
        s3_proxy.inject(Delay(1e6))
    folder = broken.sweep("s")
    for use in (lambda: folder.read("a"), lambda: folder.write("a", b"x"), lambda: folder.names("*")):
        with pytest.raises(StoreError, match=r"does not answer .* check the network and endpoint_override"):
            use()
    with pytest.raises(StoreError, match="does not answer"), folder.try_lock():
        pass
    s3_proxy.clear()


def test_readers_see_whole_versions_while_an_object_is_replaced(store):
    """Objects of different lengths that replace each other are read whole, one or the other."""
    folder = store.sweep("s")
    folder.write("name", b"00000000,")
    ended = threading.Event()

    def write() -> None:
        writer = Store.at(str(store)).sweep("s")
        for number in itertools.takewhile(lambda _: not ended.is_set(), itertools.count()):
            writer.write("name", b"%08d," % number * (1 if number % 2 else 200))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(150):
            content = folder.read("name")
            assert content in (content[:9], content[:9] * 200)
    finally:
        ended.set()
        thread.join()


def test_a_missing_bucket_is_one_clear_error(object_server):
    """The bucket's name may be wrong: the message says so, before anything runs."""
    with pytest.raises(StoreError, match="no such bucket; make it, or choose another place"):
        Store.at(object_server.url("s3://no-such-bucket/x")).check_writable()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://AKIA123:s3cr3t@bucket/x", "a URL with credentials is refused"),
        ("s3://bucket/x?access_key=s3cr3t", "no option 'access_key' in an s3 URL"),
        (
            "s3://bucket/x?endpoint_override=user:s3cr3t@host",
            "endpoint_override in the s3 URL must be host or host:port",
        ),
        ("s3://bucket/x?scheme=ftp", "scheme in the s3 URL must be http or https"),
        ("s3://bucket/x?lease_seconds=0.5", "lease_seconds in the s3 URL must be 2 or more"),
        ("s3://bucket/../x", "is not a prefix"),
        ("s3:///x", "no bucket's name"),
        ("gs://bucket/x", "no store has URLs of 'gs'; give a folder, or s3://bucket/prefix"),
    ],
)
def test_urls_that_are_no_store_are_refused_and_never_repeated(url, message):
    """What is wrong is named; a password in the URL is not."""
    with pytest.raises(StoreError, match=message) as caught:
        Store.at(url)
    assert "s3cr3t" not in str(caught.value)


def test_the_name_of_a_store_makes_the_same_store():
    """What travels to workers says how the server is reached, and holds no credentials."""
    url = "s3://bucket/a/b?endpoint_override=127.0.0.1:9000&scheme=http&region=eu-west-1&lease_seconds=20"
    where = ObjectPlace("bucket", "a/b", "127.0.0.1:9000", "http", "eu-west-1", 20.0)
    assert ObjectPlace.from_url(url) == where
    assert str(Store(ObjectFiles(where))) == url
    assert str(Store.at("s3://bucket/a/b")) == "s3://bucket/a/b"
    assert Store.at("s3://bucket").sweep("s").place("x") == "s3://bucket/sweeps/s/x"


def test_what_needs_a_disk_says_so(store):
    """Code that asks an object store for a path gets one clear error."""
    with pytest.raises(StoreError, match="is an object store, and this needs one in a folder"):
        _ = store.root
    with pytest.raises(StoreError, match="choose it by --store"):
        _ = store.trial(TRIAL).path


def test_metric_log_keeps_each_step_once(store):
    """A log of an object store is the same log: first values stay, offsets go on, a failed write is tried again."""
    log = log_in(store.trial(TRIAL))
    assert (read_entries(log, 0), log_id(log), log_bytes(log)) == (([], 0), None, 0)
    MetricLog(log).append(1, {"a": 1.0}, 10)
    first, offset = read_entries(log, 0)
    assert offset == log_bytes(log)
    again = MetricLog(log)
    again.append(1, {"a": 2.0}, 20)
    again.append(2, {"a": 3.0}, 30)
    later, _ = read_entries(log, offset)
    assert [(entry.step, entry.timestamp_ms, dict(entry.metrics)) for entry in first + later] == [
        (1, 10, {"a": 1.0}),
        (2, 30, {"a": 3.0}),
    ]
    assert log_id(log) is not None


def test_a_failed_append_leaves_the_log_as_it_was(store, broken, s3_proxy):
    """A line that could not be written can be written later, and stands once."""
    log = log_in(broken.trial(TRIAL))
    metrics = MetricLog(log)
    metrics.append(1, {"a": 1.0}, 10)
    s3_proxy.inject(Answer(503), matches=lambda request: request.method == "PUT")
    with pytest.raises(StoreError):
        metrics.append(2, {"a": 2.0}, 20)
    s3_proxy.clear()
    metrics.append(2, {"a": 2.0}, 20)
    assert [entry.step for entry in read_entries(log, 0)[0]] == [1, 2]


def test_trial_on_an_object_store_ends_bit_identical(make_trial, make_context, store):
    """The same trial on a disk and on S3, there also stopped and resumed, ends with the same bits and points."""
    trial = make_trial()
    local = make_context(trial)
    assert run_trial(trial, local) == Outcome("done")
    left = iter([False] * 5 + [True])
    remote = make_context(trial, store=store, should_stop=lambda: next(left, False))
    assert run_trial(trial, remote) == Outcome("stopped")
    assert run_trial(trial, remote) == Outcome("done")
    on_disk, on_s3 = (
        safetensors.torch.load(context.store.trial(trial.trial_id).read(FINAL)) for context in (local, remote)
    )
    assert on_disk.keys() == on_s3.keys()
    assert all(torch.equal(on_disk[name], on_s3[name]) for name in on_disk)
    points = f"points/{local.evaluation.eval_id}.parquet"
    read = [
        from_parquet(Point, context.store.trial(trial.trial_id).read(points), points) for context in (local, remote)
    ]
    assert [point.rates_nats for point in read[0]] == [point.rates_nats for point in read[1]]
    manifest = store.trial(trial.trial_id).manifest()
    assert manifest.files.keys() == local.store.trial(trial.trial_id).manifest().files.keys()
    assert run_trial(trial, remote) == Outcome("done")


def test_a_store_that_fails_while_a_trial_runs_interrupts_it(make_trial, make_context, broken, s3_proxy):
    """An outage ends the attempt as interrupted, with what to look at; afterwards the trial goes on to its end."""
    trial = make_trial()
    s3_proxy.inject(Answer(503), matches=lambda request: "manifest" in request.path and request.method == "PUT")
    outcome = run_trial(trial, make_context(trial, store=broken))
    assert outcome.state == "interrupted"
    assert "cannot use s3://" in outcome.message
    assert broken.trial(trial.trial_id).manifest() is None
    s3_proxy.clear()
    assert run_trial(trial, make_context(trial, store=broken)) == Outcome("done")
