"""Sweeps whose end is told: by the command line, on a real Ray."""

import json
import sqlite3

import pytest

from command_line import SPEC
from webhook import webhook

pytestmark = pytest.mark.slow
ONE_TRIAL = SPEC.replace("  - {kind: mr-vae, beta_range: [0.01, 10]}\n", "").replace("[0.1, 1]", "[1]")


def test_the_end_of_a_sweep_is_told_and_the_address_is_written_nowhere(command_line, submit_here):
    """The news has the counts and the report; the secrets of the address are in no file, database or line."""
    command_line.write_spec(f"{ONE_TRIAL}notify: {{url_from: MRVAE_NOTIFY_TEAM}}\n")
    with webhook(200) as server:
        address = server.at("/hooks/s3cr3tpath", userinfo="me:s3cr3tword@")
        finished = submit_here(command_line, "spec.yaml", MRVAE_NOTIFY_TEAM=address)
    assert finished.code == 0, finished.out + finished.err
    ((path, _, content),) = server.received
    assert path == "/hooks/s3cr3tpath"
    told = json.loads(content)
    assert (told["event"], told["message"], told["counts"]) == ("finished", "tiny has finished: 1 done", {"done": 1})
    assert told["report"].endswith("sweeps/tiny/report")
    files = [path for path in command_line.folder.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    assert not [path for path in files if b"s3cr3t" in path.read_bytes()]
    assert "s3cr3t" not in finished.out + finished.err
    with sqlite3.connect(command_line.store / "mlflow.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() != (0,)


def test_a_sweep_that_fails_is_told_of_and_a_webhook_that_fails_changes_nothing(command_line, submit_here):
    """The exit code is that of the sweep; one line at its start and one at its end name the failure."""
    diverging = ONE_TRIAL.replace("learning_rate: 1e-3", "learning_rate: 1e30")
    command_line.write_spec(f"{diverging}notify: {{url_from: MRVAE_NOTIFY_TEAM, on: [failed]}}\n")
    with webhook(403) as server:
        failed = submit_here(command_line, "spec.yaml", MRVAE_NOTIFY_TEAM=server.at())
    assert failed.code == 1, failed.out + failed.err
    assert json.loads(server.received[0][2])["event"] == "failed"
    assert failed.out.splitlines()[-1] == (
        "notification failed (tiny has ended unfinished: 1 failed): 127.0.0.1: it answered 403"
    )
    with webhook(200) as server:
        again = command_line.ask("retry", "tiny", "--failed", MRVAE_NOTIFY_TEAM=server.at())
    assert again.code == 1, again.out + again.err
    assert [json.loads(content)["event"] for _, _, content in server.received] == ["failed"]
    unset = submit_here(command_line, "spec.yaml")
    assert unset.code == 1
    first = unset.out.splitlines()[0]
    assert first.startswith("notifications will fail: the variable MRVAE_NOTIFY_TEAM is not set")
