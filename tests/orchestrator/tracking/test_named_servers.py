"""The user's MLflow credentials go to addresses that the user has named, not to those that a store names."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from command_line import SPEC, CommandLine
from orchestrator.errors import UserError
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from orchestrator.tracking.config import remember_tracking_uri, resolve_tracking_uri
from orchestrator.tracking.named_servers import FILE, is_named, remember_named
from orchestrator.tracking.uri import redact
from workers.store.store import Store

SERVER = "http://mlflow.lab:5000"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """The settings of a user who has named nothing."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings" / FILE


class Listener:
    """A server that notes which credentials it is sent."""

    def __init__(self):
        self.heard = heard = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                heard.append(self.headers.get("Authorization"))
                self.send_error(403)

            do_POST = do_GET  # noqa: N815 (the name that the server looks for)

            def log_message(self, *_):
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.end()


@pytest.fixture
def colleagues(tmp_path):
    """A store in which a colleague has submitted a sweep."""
    line = CommandLine(tmp_path)
    save_sweep(Store(line.store), plan(spec_from_text(SPEC, "spec.yaml")), 0.0)
    return line


def test_a_token_is_not_sent_where_only_the_store_says(colleagues, listener, settings, monkeypatch):
    """Before the user has named the address, nothing is sent; afterwards it needs no option."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    remember_tracking_uri(Store(colleagues.store), "tiny", listener.uri)
    token = {"MLFLOW_TRACKING_TOKEN": "a-secret-token"}
    refused = colleagues.ask("sync", "tiny", **token)
    assert refused.code == 2
    assert f"give it once: --tracking-uri {listener.uri}" in refused.err
    assert listener.heard == []
    assert not settings.exists()
    assert colleagues.ask("sync", "tiny", "--tracking-uri", listener.uri, **token).code == 1
    assert set(listener.heard) == {"Bearer a-secret-token"}
    heard = len(listener.heard)
    assert colleagues.ask("sync", "tiny", **token).code == 1
    assert len(listener.heard) > heard


def test_what_is_named_is_noted_for_the_user_alone_and_without_credentials(settings):
    remember_named("https://alice:secret@mlflow.lab/team/?token=secret#secret")
    assert settings.stat().st_mode & 0o777 == 0o600
    assert "secret" not in settings.read_text()
    assert is_named("https://mlflow.lab/team")
    assert not is_named("https://mlflow.lab.example.org/team")
    assert not is_named("http://mlflow.lab/team")


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\x00"])
def test_damaged_settings_name_nothing(settings, content):
    settings.parent.mkdir(parents=True)
    settings.write_text(content)
    assert not is_named(SERVER)
    remember_named(SERVER)
    assert is_named(SERVER)


def test_without_a_place_for_settings_an_address_is_named_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    store = Store(tmp_path / "runs")
    remember_tracking_uri(store, "tiny", SERVER)
    assert resolve_tracking_uri(store, "tiny", SERVER) == SERVER
    with pytest.raises(UserError, match="you have not named that address"):
        resolve_tracking_uri(store, "tiny", None)


def test_another_database_than_the_stores_own_is_to_be_named_too(tmp_path, settings):
    """It may lie anywhere on this machine."""
    assert not settings.exists()
    store = Store(tmp_path / "runs")
    remember_tracking_uri(store, "tiny", f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(UserError, match=r"other\.db, says the store"):
        resolve_tracking_uri(store, "tiny", None)


@pytest.mark.parametrize("address", ["alice:hunter2@mlflow.lab:5000", "http:alice:hunter2@mlflow.lab"])
@pytest.mark.parametrize("command", [("sync", "tiny"), ("submit", "spec.yaml"), ("doctor",)])
@pytest.mark.parametrize("way", ["option", "environment", "option with a cluster"])
def test_an_address_without_scheme_is_not_repeated(colleagues, settings, address, command, way):
    """It may have a password: nothing of it is printed, written or sent."""
    colleagues.write_spec()
    options = [] if way == "environment" else ["--tracking-uri", address]
    options += ["--address", "http://127.0.0.1:1"] if "cluster" in way and command[0] == "submit" else []
    variables = {"MLFLOW_TRACKING_URI": address} if way == "environment" else {}
    done = colleagues.ask(*command, *options, **variables)
    assert done.code == 2
    assert "has a user but no scheme" in done.err
    assert "hunter2" not in done.out + done.err + redact(address)
    assert not settings.exists()
    written = [path.read_bytes() for path in colleagues.store.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in content for content in written)
