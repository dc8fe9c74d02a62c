"""A real Ray cluster of this machine, started by `ray start` as docs/cluster.md does, on ports of its own."""

from __future__ import annotations

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

from command_line import kill_all, wait_until

EXECUTABLES = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This process's variables, but for those of the programs that are tested."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MRVAE", "MLFLOW", "RAY"))}


class RayCluster:
    """A head with its dashboard and job service, and more nodes if asked; a token is wanted by all of them.

    `token` are the variables of another cluster, whose token this one takes too.
    """

    def __init__(self, token: dict[str, str] | None = None) -> None:
        # Sockets lie in it, whose paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        path = self.folder / "token"
        path.write_text(secrets.token_hex(32))
        self.token = token or {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
        self.port, dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        self._log = (self.folder / "nodes.log").open("ab")
        self.head = self._start("--head", f"--port={self.port}", f"--dashboard-port={dashboard}")
        self._nodes = [self.head]
        wait_until(self.answers, 180)

    def add_node(self) -> subprocess.Popen:
        self._nodes.append(self._start(f"--address=127.0.0.1:{self.port}"))
        return self._nodes[-1]

    def answers(self) -> bool:
        token = Path(self.token["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(  # noqa: S310 (http, of this machine)
            f"{self.address}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    def kill(self, node: subprocess.Popen) -> None:
        """Kill -9 a node with everything that runs on it."""
        kill_all(node)

    def end(self) -> None:
        # The head last: nodes that lose it end by themselves, and take their time.
        for node in reversed(self._nodes):
            if node.poll() is None:
                kill_all(node)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *arguments: str) -> subprocess.Popen:
        settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
        path = f"{EXECUTABLES}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [
                EXECUTABLES / "ray",
                *("start", "--block", "--num-cpus=2", f"--temp-dir={self.folder}", "--disable-usage-stats"),
                *("--dashboard-agent-listen-port=0", "--object-store-memory=100000000"),
                *arguments,
            ],
            env={**clean_environment(), **settings, **self.token, "PATH": path},
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
