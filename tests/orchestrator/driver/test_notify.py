from __future__ import annotations

import base64
import json
import shlex
import socket
import sys
from contextlib import ExitStack

import psutil
import pytest

from command_line import wait_until
from orchestrator.driver.notify import Notification, SendLimits, notify, why_undeliverable
from orchestrator.spec.running import NotifySection
from webhook import webhook

NOTIFICATION = Notification("small", "finished", "small has finished: 3 done", {"done": 3}, "runs/sweeps/small/report")
QUICK = SendLimits(seconds=5.0, pauses=(0.01, 0.01))
IMPATIENT = SendLimits(seconds=0.5, pauses=(0.01, 0.01))
TEAM = NotifySection(url_from="MRVAE_NOTIFY_TEAM")
PAGER = NotifySection(command="MRVAE_NOTIFY_PAGER")


@pytest.fixture
def serve():
    """Start webhooks that end with the test."""
    with ExitStack() as held:
        yield lambda *codes, **options: held.enter_context(webhook(*codes, **options))


def told(address, patience=QUICK):
    return notify(TEAM, NOTIFICATION, {"MRVAE_NOTIFY_TEAM": address}, patience)


def test_a_webhook_gets_the_news_as_json(serve):
    """The event, the message for people, the counts and where the report is; `text` is for chat programs."""
    server = serve(200)
    assert told(server.at()) is None
    ((path, headers, content),) = server.received
    assert (path, headers["Content-Type"]) == ("/hook", "application/json")
    assert json.loads(content) == {
        "sweep": "small",
        "event": "finished",
        "message": "small has finished: 3 done",
        "counts": {"done": 3},
        "report": "runs/sweeps/small/report",
        "text": "small has finished: 3 done",
    }


def test_only_the_events_that_were_asked_for_are_told(serve):
    """A spec without the section tells nobody of anything."""
    server = serve(200)
    failed = NotifySection(url_from="MRVAE_NOTIFY_TEAM", on=("failed",))
    assert notify(failed, NOTIFICATION, {"MRVAE_NOTIFY_TEAM": server.at()}, QUICK) is None
    assert notify(None, NOTIFICATION, {}, QUICK) is None
    assert server.received == []


@pytest.mark.parametrize("codes", [(500, 503, 200), (429, 204), (200,)])
def test_a_server_in_trouble_is_tried_again(serve, codes):
    """Three tries in all."""
    server = serve(*codes)
    assert told(server.at()) is None
    assert len(server.received) == len(codes)


def test_a_server_that_stays_in_trouble_is_given_up_after_three_tries(serve):
    """One line says so."""
    server = serve(500)
    assert told(server.at()) == "notification failed (small has finished: 3 done): 127.0.0.1: it answered 500"
    assert len(server.received) == 3


def test_a_refusal_is_not_tried_again(serve):
    """The same request would be refused again."""
    server = serve(403)
    assert told(server.at()).endswith("127.0.0.1: it answered 403")
    assert len(server.received) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere(serve, code):
    """The other host hears nothing, and the line does not repeat where it would have led."""
    other = serve(200)
    server = serve(code, location=other.at("/elsewhere"))
    assert told(server.at()).endswith(f"it redirects ({code}), which is not followed; give the final address")
    assert (len(server.received), other.received) == (1, [])


def test_a_server_that_does_not_answer_is_given_up(serve):
    """Each try has its time, and there are three."""
    server = serve("silence")
    assert told(server.at(), IMPATIENT).endswith("127.0.0.1: no answer within 0.5 s")
    assert len(server.received) == 3


def test_a_server_that_never_ends_its_answer_is_given_up(serve):
    """Headers that drip in reset every timeout of the socket; the whole has one of its own."""
    server = serve("drip")
    assert told(server.at(), IMPATIENT).endswith("127.0.0.1: no answer within 2.02 s")


def test_nobody_listens():
    """A port that nobody has is refused at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert told(f"http://127.0.0.1:{port}/").endswith("127.0.0.1: Connection refused")


def test_credentials_in_the_address_are_sent_as_such(serve):
    """The path and the query go as they are; the user's name and password as basic authentication."""
    server = serve(200)
    assert told(server.at("/services/T0/s3cr3t?key=1", userinfo="me:p%40ss@")) is None
    ((path, headers, _),) = server.received
    assert path == "/services/T0/s3cr3t?key=1"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/s3cr3t",
        "http://me:s3cr3t@127.0.0.1:1/",
        "s3cr3t",
        "ftp://127.0.0.1/s3cr3t",
        "file:///etc/s3cr3t",
        "http://127.0.0.1:port/s3cr3t",
        "http://127.0.0.1/s3cr3t with a space",
        "http://127.0.0.1/s3cr3tö",
        "http:///s3cr3t",
    ],
)
def test_a_secret_address_is_in_no_message(address):
    """Messages land in logs."""
    line = told(address, IMPATIENT)
    assert line.startswith("notification failed (small has finished")
    assert "s3cr3t" not in line


def python(code, *arguments):
    return {"MRVAE_NOTIFY_PAGER": shlex.join([sys.executable, "-c", code, *map(str, arguments)])}


def test_a_command_gets_the_news_on_its_standard_input(tmp_path):
    """Its arguments are those that the machine's owner has given it; no shell reads them."""
    written = tmp_path / "news $(touch pwned).json"
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    assert notify(PAGER, NOTIFICATION, python(code, written), QUICK) is None
    assert json.loads(written.read_bytes())["event"] == "finished"


def test_a_command_that_fails_or_is_missing_is_told_of():
    """By its code, or by why it did not start, and not by what it is."""
    assert notify(PAGER, NOTIFICATION, python("raise SystemExit(3)"), QUICK).endswith("the command ended with 3")
    missing = notify(PAGER, NOTIFICATION, {"MRVAE_NOTIFY_PAGER": "/nowhere/pager --token s3cr3t"}, QUICK)
    assert missing.endswith("the command cannot be started: No such file or directory")
    assert "s3cr3t" not in missing


def test_a_command_that_does_not_end_is_killed_with_what_it_has_started(tmp_path):
    """Nothing of it goes on."""
    written = tmp_path / "child"
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "open(sys.argv[1] + '.new', 'w').write(str(child.pid));"
        "import os; os.rename(sys.argv[1] + '.new', sys.argv[1]);"
        "time.sleep(600)"
    )
    line = notify(PAGER, NOTIFICATION, python(code, written), SendLimits(seconds=5.0))
    assert line.endswith("the command did not end within 5 s")
    child = int(written.read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_what_is_not_set_is_known_before_anything_runs():
    """Who will not be told hears it at the start of the sweep already."""
    unset = "notifications will fail: the variable {} is not set where the sweep is run"
    assert why_undeliverable(TEAM, {}) == unset.format("MRVAE_NOTIFY_TEAM")
    assert why_undeliverable(PAGER, {"MRVAE_NOTIFY_PAGER": " "}) == unset.format("MRVAE_NOTIFY_PAGER")
    assert why_undeliverable(PAGER, {"MRVAE_NOTIFY_PAGER": "say 'done"}).endswith(
        "cannot be read: No closing quotation"
    )
    assert why_undeliverable(TEAM, {"MRVAE_NOTIFY_TEAM": "https://example.com/s3cr3t"}) is None
    assert why_undeliverable(None, {}) is None
