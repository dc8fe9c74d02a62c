"""A real Ray cluster of this machine, started by `ray start` as docs/cluster.md does, on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from command_line import kill_all, wait_until

EXECUTABLES = Path(sys.executable).parent
NODE_TRIES = 3


def free_port() -> int:
    with socket.socket() as callback:
        callback.bind(("127.0.0.1", 0))
        return callback.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This process's variables, but for those of the programs that are tested."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MRVAE", "MLFLOW", "RAY"))}


class RayCluster:
    """A head with its dashboard and job service, and more nodes if asked; a token is wanted by all of them.

    `token` are the variables of another cluster, whose token this one takes too; `variables` are more of them, for all
    nodes.
    """

    def __init__(self, token: dict[str, str] | None = None, **variables: str) -> None:
        # Sockets lie in it, whose paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        path = self.folder / "token"
        path.write_text(secrets.token_hex(32))
        self.token = token or {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
        self._variables = variables
        self.port, self._dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self._dashboard}"
        self._log = (self.folder / "nodes.log").open("ab")
        self.nodes: list[subprocess.Popen] = []
        self.start_head()

    def start_head(self) -> None:
        """Start the head, on the ports of the one before where there was one; it knows nothing of that one."""
        self.head = self._start("--head", f"--port={self.port}", f"--dashboard-port={self._dashboard}")
        self.nodes.append(self.head)
        wait_until(self.answers)

    def add_node(self, **variables: str) -> subprocess.Popen:
        """Start a node, and wait until it is there: two that start at once on one machine take the same sockets.

        One that ends before it was there is started again, as by the service manager of its machine.
        """
        before = self._alive()
        for _ in range(NODE_TRIES):
            node = self._start(f"--address=127.0.0.1:{self.port}", **variables)
            self.nodes.append(node)
            with contextlib.suppress(AssertionError):
                wait_until(lambda node=node: self._alive() - before or node.poll() is not None)
            if self._alive() - before:
                return node
            if node.poll() is None:
                self.kill(node)
            else:
                self.nodes.remove(node)
        log = (self.folder / "nodes.log").read_text(errors="replace")[-4000:]
        raise AssertionError(f"{NODE_TRIES} nodes did not come up; what nodes printed last:\n{log}")

    def answers(self) -> bool:
        try:
            self._get("/api/jobs/")
        except OSError:
            return False
        return True

    def state(self, kind: str) -> list[dict]:
        """Return what the head knows of all "actors", "placement_groups" or "nodes", those that are gone too."""
        return self._get(f"/api/v0/{kind}?limit=1000&detail=True")["data"]["result"]["result"]

    def _alive(self) -> set[str]:
        return {node["node_id"] for node in self.state("nodes") if node["state"] == "ALIVE"}

    def _get(self, path: str) -> Any:
        token = Path(self.token["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(  # noqa: S310 (http, of this machine)
            self.address + path, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())

    def kill(self, node: subprocess.Popen) -> None:
        """Kill -9 a node with everything that runs on it."""
        self.nodes.remove(node)
        kill_all(node)

    def end(self) -> None:
        # The head last: nodes that lose it end by themselves, and take their time.
        for node in reversed(self.nodes):
            if node.poll() is None:
                kill_all(node)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
        path = f"{EXECUTABLES}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [
                EXECUTABLES / "ray",
                *("start", "--block", "--num-cpus=2", f"--temp-dir={self.folder}", "--disable-usage-stats"),
                *("--dashboard-agent-listen-port=0", "--object-store-memory=100000000"),
                *arguments,
            ],
            env={**clean_environment(), **settings, **self.token, "PATH": path, **self._variables, **variables},
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
