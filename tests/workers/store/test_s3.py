"""The store on S3: the same results as on a disk, whole objects whatever fails, and errors that end."""

import hashlib
import itertools
import threading

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.records import Point, from_parquet
from fault_proxy import Answer, Cut, CutAnswer, CutRequest, Delay, LoseAnswer, Slow, Strip
from object_server import BUCKET
from workers.outcome import Outcome
from workers.running.metric_log import MetricLog, log_bytes, log_id, log_in, read_entries
from workers.running.run import run_trial
from workers.store.manifest import Manifest
from workers.store.s3 import PART_BYTES, ObjectFiles, _credentials
from workers.store.s3_url import ObjectPlace
from workers.store.store import Store, StoreError
from workers.training.checkpoint import FINAL

TRIAL = "ab" * 32
BIG = 2 * PART_BYTES + 256


@pytest.fixture
def store(object_server, bucket_prefix) -> Store:
    return Store.at(object_server.url(bucket_prefix))


@pytest.fixture
def broken(object_server, bucket_prefix, s3_proxy) -> Store:
    """The same store behind the proxy, with waits that a test can afford."""
    where = ObjectPlace.from_url(object_server.url(bucket_prefix, s3_proxy.port))
    return Store(ObjectFiles(where, answer_seconds=1.0, tries=2))


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
        st.tuples(st.sampled_from(["is_locked", "has_unfinished_files", "remove_unfinished_files"])),
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
        found = [getattr(folder, name)(*arguments) for folder in folders]
        # A folder matches on a disk and is nothing on an object store: names are asked for with files in mind.
        if name == "names":
            found[0] = [each for each in found[0] if (folders[0].path() / each).is_file()]
        assert found[0] == found[1], (name, arguments)


def test_a_manifest_verifies_with_one_listing(object_server, bucket_prefix, s3_proxy):
    """Reading the state of a done trial takes the manifest and one listing, however many files it names."""
    _, manifest = finished_trial(Store.at(object_server.url(bucket_prefix)))
    seen = Store.at(object_server.url(bucket_prefix, s3_proxy.port)).trial(TRIAL).manifest()
    assert seen == manifest
    assert [request.method for request in s3_proxy.requests()] == ["GET", "GET"]


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


@pytest.mark.parametrize("size", [PART_BYTES, BIG], ids=["one PUT", "several parts"])
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
def test_an_upload_whose_later_part_fails_shows_no_part(store, broken, s3_proxy, object_server, bucket_prefix, part):
    """A large file of which the server took other parts is not seen in part, and the parts are removed."""
    store.sweep("s").write("big", b"old")
    s3_proxy.inject(Answer(500), matches=lambda request: f"partNumber={part}" in request.path)
    with pytest.raises(StoreError):
        broken.sweep("s").write("big", bytes(BIG))
    assert store.sweep("s").read("big") == b"old"
    assert store.sweep("s").names("*") == ["big"]
    uploads = object_server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert not [each for each in uploads if bucket_prefix.endswith(each["Key"].partition("/sweeps")[0])]


def test_large_files_come_back_whole(store, broken, s3_proxy):
    """A file of several parts is there under its name, also where a connection is cut in the middle of reading it."""
    content = bytes(range(256)) * (BIG // 256)
    stored = store.sweep("s").write("big", content)
    s3_proxy.inject(CutAnswer(BIG // 2), count=1)
    assert broken.sweep("s").read("big") == content
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert store.sweep("s").names("*") == ["big"]


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
    s3_proxy.inject(fault, count=1)
    folder.remove("name")
    assert folder.read("name") is None


@pytest.mark.parametrize("fault", [Answer(500), Cut(), LoseAnswer()], ids=["500", "cut", "lost answer"])
@pytest.mark.parametrize("request_of_upload", ["uploads", "partNumber=2", "uploadId"])
def test_a_large_upload_survives_a_fault_that_passes(store, broken, s3_proxy, request_of_upload, fault):
    """Its beginning, a part and its end are tried again."""
    s3_proxy.inject(fault, count=1, matches=lambda request: f"{request_of_upload}" in request.path.partition("?")[2])
    broken.sweep("s").write("big", bytes(BIG))
    assert len(s3_proxy.requests(type(fault))) == 1
    assert store.sweep("s").read("big") == bytes(BIG)


@pytest.mark.parametrize("way", ["refuses", "never answers"])
def test_a_dead_server_is_an_error_and_no_hang(broken, s3_proxy, way):
    """Reads, writes, listings and locks of a server that is gone end with what to look at."""
    if way == "refuses":
        s3_proxy.refuse()
    else:
        s3_proxy.inject(Delay(1e6))
    folder = broken.sweep("s")
    for use in (lambda: folder.read("a"), lambda: folder.write("a", b"x"), lambda: folder.names("*")):
        with pytest.raises(StoreError, match=r"the request failed .*: .*; check the network and endpoint_override"):
            use()
    with pytest.raises(StoreError, match="the request failed"), folder.try_lock():
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
    store = Store.at(object_server.url("s3://no-such-bucket/x"))
    for use in (store.check_writable, store.sweep_names, store.sweep("s").exists):
        with pytest.raises(StoreError, match="no such bucket; make it, or choose another place"):
            use()


def test_refused_credentials_are_one_clear_error(broken, s3_proxy):
    """The message says where credentials come from, for reads, writes and listings."""
    s3_proxy.inject(Answer(403, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"))
    folder = broken.sweep("s")
    for use in (lambda: folder.read("a"), lambda: folder.write("a", b"x"), lambda: folder.names("*")):
        with pytest.raises(StoreError, match=r"access is denied \(AccessDenied\); set AWS_ACCESS_KEY_ID"):
            use()


@pytest.mark.parametrize(
    "fault", [Strip(("if-none-match",)), Strip(("if-match",)), Answer(501)], ids=["creates", "replaces", "refuses"]
)
def test_a_server_without_conditional_writes_is_one_clear_error(broken, s3_proxy, bucket_prefix, object_server, fault):
    """A server that ignores conditions, or knows none, is refused at the start, and nothing is left there."""
    s3_proxy.inject(fault, matches=lambda request: ".probe." in request.path and request.method == "PUT")
    message = r"the server of s3://.* does not support conditional writes .*; update it, or choose another server"
    with pytest.raises(StoreError, match=message):
        broken.check_writable()
    s3_proxy.clear()
    broken.check_writable()
    assert object_server.keys(bucket_prefix) == []


def test_credentials_come_from_profiles_too(tmp_path, monkeypatch):
    """Without variables the profile that AWS_PROFILE names is used; one that is not there is one clear error."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = LABKEY\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert _credentials() is None
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert _credentials()()["access_key_id"] == "LABKEY"
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(StoreError, match=r"no credentials for S3: .*other.*; set AWS_ACCESS_KEY_ID"):
        Store.at("s3://bucket/x?endpoint_override=127.0.0.1:9").check_writable()


def test_a_commit_goes_over_what_arrived_before_it(store):
    """A process that still has the lock commits its own file, also where one of the last holder arrives meanwhile."""
    late = iter([lambda: store.folder("s").write("file", b"late")])

    def has_lock() -> bool:
        next(late, lambda: None)()
        return True

    assert store.files.write_if("s/file", b"own", has_lock)
    assert store.folder("s").read("file") == b"own"


def test_marks_of_folders_are_no_files(store, object_server, bucket_prefix):
    """Earlier releases wrote empty objects for folders; a folder that has nothing else is not there."""
    inside = bucket_prefix.removeprefix(f"s3://{BUCKET}/") + "/sweeps/"
    for name in ("", "s/", "s/cancelled/", "empty/"):
        object_server.client.put_object(Bucket=BUCKET, Key=inside + name, Body=b"")
    store.sweep("s").write("cancelled/a", b"")
    assert store.sweep("s").names("cancelled/*") == ["cancelled/a"]
    assert store.sweep("s").names("*") == []
    assert store.folder("sweeps").folders() == ["empty", "s"]
    assert not store.sweep("empty").exists()


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
        _ = store.trial(TRIAL).path()


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
