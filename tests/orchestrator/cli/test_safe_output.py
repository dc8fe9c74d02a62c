"""What comes from a store is text in the terminal: nothing in it colours, moves, retitles or reverses anything."""

import json

import pytest
import yaml

from stores.test_earlier_store import INTERRUPTED, copy_of_sample
from workers.store.store import Store

ACTING = "\x1b[2J\x1b]0;title\x07\u202egnp\u2066\x9b31m\x08"
SHOWN = "\\u001b]0;title\\u0007\\u202egnp\\u2066\\u009b31m\\b"
COMMANDS = (
    *(
        ("status", "sample"),
        ("status", "sample", "--json"),
        ("list",),
        ("list", "--json"),
        ("watch", "sample", "--once"),
    ),
    *(("watch", "sample", "--once", "--json"), ("logs", "sample"), ("logs", "sample", INTERRUPTED[:8])),
    *(("report", "sample", "--out", "out"), ("plan", "runs/sweeps/sample/spec.yaml"), ("status", f"no{ACTING}")),
    *(("plan", "spec.yaml", "--set", f"training.epochs={ACTING}"), ("plan", f"no{ACTING}.yaml")),
)


@pytest.fixture
def line(tmp_path):
    """A store in which every text that commands show has characters that act on a terminal."""
    line = copy_of_sample(tmp_path)
    store = Store(line.store)
    sweep, trial = store.sweep("sample"), store.trial(INTERRUPTED)
    trial.write_json("failure.json", {"message": f"failed {ACTING}", "attempt": 1})
    for folder in (sweep, trial):
        for name in folder.names("log/*.txt") or ["log/driver-0001.txt"]:
            folder.write(name, f"a line {ACTING}\n".encode())
    driver = sweep.read_json("driver.json") | {"host": f"host {ACTING}", "why": ACTING, "state": "running", "at": 4e9}
    sweep.write_json("driver.json", driver)
    spec = yaml.safe_load(sweep.read("spec.yaml")) | {"description": f"about {ACTING}"}
    sweep.write("spec.yaml", yaml.safe_dump(spec).encode())
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:30])
def test_nothing_acts_on_the_terminal(line, command):
    done = line.ask(*command)
    shown = (done.out + done.err).replace("\n", "").replace("\t", "")
    assert shown.isprintable()
    if "--json" in command:
        json.loads(done.out)


def test_what_acts_is_shown(line):
    """As escapes, so that a reader sees that something is there."""
    assert SHOWN in line.ask("logs", "sample").out
    assert "failed \\u001b[2J" in line.ask("status", "sample").out
    assert "\\u202egnp" in line.ask("list").out
