"""A sweep on S3 from the command line: submitted, interrupted, reported, measured again, checked and forwarded."""

import pytest

from command_line import SPEC, kill_all, wait_until
from workers.store.store import Store

LEASE = 15


@pytest.fixture
def url(object_server, bucket_prefix) -> str:
    return object_server.url(bucket_prefix, lease_seconds=LEASE)


@pytest.mark.slow
def test_every_command_works_on_an_object_store(command_line, submit_here, object_server, bucket_prefix, url):
    """A sweep is trained, and whatever is asked of a store on a disk can be asked of one on S3."""
    spec = command_line.write_spec()
    first = submit_here(command_line, spec, "--store", url)
    assert first.code == 0, first.err + first.out
    assert "Not forwarded to MLflow: an object store cannot contain MLflow's database" in first.out
    assert f"Report: {bucket_prefix}/sweeps/tiny/report/report.html" in first.out
    store = Store.at(url)
    assert b"<html" in store.sweep("tiny").read("report/report.html")
    again = command_line.ask("submit", spec, "--store", url)
    assert "Nothing to run: 3 done" in again.out
    assert command_line.ask("status", "tiny", "--store", url, "--json").json["counts"] == {"done": 3}
    assert "tiny: 3 done" in command_line.ask("status", "--store", url).out

    out = command_line.ask("report", "tiny", "--store", url, "--out", "here", "--format", "html,csv")
    assert out.code == 0, out.err
    assert (command_line.folder / "here" / "report.html").is_file()
    evaluated = command_line.ask("evaluate", "tiny", "--store", url, "--metrics", "psnr")
    assert evaluated.code == 0, evaluated.err + evaluated.out

    recorded = command_line.ask("record", "tiny", "--as", "before", "--tolerance", "2", "--store", url)
    assert f"Reference: {bucket_prefix}/references/before.json" in recorded.out
    checked = command_line.ask("check", "tiny", "--against", "before", "--store", url)
    assert f"JUnit XML: {bucket_prefix}/sweeps/tiny/checks/before.xml" in checked.out, checked.err
    assert store.sweep("tiny").read("checks/before.xml").startswith(b"<?xml")

    refused = command_line.ask("sync", "tiny", "--store", url)
    assert refused.code == 2
    assert "give a server with --tracking-uri" in refused.err
    database = f"sqlite:///{command_line.folder}/elsewhere.db"
    synced = command_line.ask("sync", "tiny", "--store", url, "--tracking-uri", database)
    assert synced.code == 0, synced.err
    assert "and 4 runs uploaded" in synced.out
    assert "tiny: 0 metrics" in command_line.ask("sync", "tiny", "--store", url, "--tracking-uri", database).out
    assert command_line.run("ui", "--store", url).code == 2
    doctor = command_line.ask("doctor", "--store", url)
    assert f"ok    store {url}: writable" in doctor.out.splitlines()
    keys = object_server.keys(bucket_prefix)
    assert not [key for key in keys if key.endswith(".tmp")]
    locks = {key for key in keys if "/.lock/" in key}
    assert {key.rpartition("/")[2] for key in locks} == {"lease"}
    assert set(store.folder("").sizes(locks).values()) == {0}
    assert not command_line.store.exists()


@pytest.mark.slow
def test_a_killed_submit_goes_on_from_the_object_store(command_line, pace, url):
    """Kill -9 of the driver and its workers leaves leases behind; the same command waits for them and goes on."""
    command_line.variables |= pace.variables
    spec = command_line.write_spec(pace.of(SPEC, epochs=30))
    arguments = ("submit", spec, "--store", url, "--checkpoint-every", "0.2")
    process = command_line.start(*arguments)
    store = Store.at(url)
    wait_until(lambda: store.files.names("trials", "*/checkpoint/step-*") or process.poll() is not None)
    kill_all(process)
    pace.hurry()
    finished = command_line.run(*arguments)
    assert finished.code == 0, finished.err + finished.out
    assert f"waiting up to {LEASE} s for the lock of the last driver" in finished.out
    status = command_line.run("status", "tiny", "--store", url, "--json").json
    assert status["counts"] == {"done": 3}
    assert max(trial["attempts"] for trial in status["trials"]) == 2


def test_a_second_submit_is_refused_while_the_first_lives(command_line, url):
    """The heartbeats of a driver tell another one that the sweep is being run."""
    spec = command_line.write_spec()
    with Store.at(url).sweep("tiny").try_lock() as held:
        assert held is not None
        second = command_line.ask("submit", spec, "--store", url)
    assert second.code == 2
    assert "sweep 'tiny' is being run by another process" in second.err


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://key:s3cr3t@bucket/x"])
def test_stores_that_cannot_be_used_are_refused(command_line, url):
    """An unknown scheme and a URL with a password are one message, without the password."""
    finished = command_line.ask("status", "--store", url)
    assert finished.code == 2
    assert "--store" in finished.err
    assert "s3cr3t" not in finished.err + finished.out


def test_a_dead_object_store_is_one_message(command_line):
    """Where no server listens, nothing is started, and the message says what to look at."""
    spec = command_line.write_spec()
    url = "s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http"
    finished = command_line.ask("submit", spec, "--store", url)
    assert finished.code == 2
    assert "the request failed" in finished.err
    assert "check the network and endpoint_override" in finished.err
    assert "Traceback" not in finished.err
