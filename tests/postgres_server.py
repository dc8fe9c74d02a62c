"""A real PostgreSQL in a folder of its own, from the system's programs, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from mlflow_server import Database

PROGRAMS = Path("/usr/lib/postgresql")


class PostgresServer:
    """Listens on a socket in its folder only, which no other user can enter; its files are gone when it is closed."""

    def __init__(self) -> None:
        self._programs = _find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="mrvae-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _account()
        if self._account:
            shutil.chown(self._folder, self._account)
        # `trust`: the folder's mode decides who may connect.
        options = ["--auth=trust", "--username=mlflow", "--no-locale", "--encoding=UTF8", "--no-sync"]
        self._run("initdb", f"--pgdata={self._folder / 'data'}", *options).wait()

    @property
    def database(self) -> Database:
        address = f"host={self._folder} user=mlflow dbname=postgres"
        uri = f"postgresql+psycopg://mlflow@/postgres?host={self._folder}"
        return Database(uri, lambda: psycopg.connect(address, connect_timeout=30), placeholder="%s")

    def start(self) -> None:
        self._process = self._run(
            "postgres", "-D", self._folder / "data", "-k", self._folder, "-c", "listen_addresses="
        )
        while self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), contextlib.closing(self.database.connect()):
                return
            time.sleep(0.05)
        pytest.fail((self._folder / "log").read_text())

    def kill(self) -> None:
        """Kill -9 the server and the processes of its connections, as if the machine had lost power."""
        server = psutil.Process(self._process.pid)
        family = [server, *server.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        self._process.wait()
        psutil.wait_procs(family)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=self._account,
                group=self._account,
                extra_groups=[] if self._account else None,
                start_new_session=True,
            )


def _find_programs() -> Path:
    found = sorted(PROGRAMS.glob("*/bin/initdb"))
    if not found:
        pytest.skip(f"PostgreSQL is not installed: no initdb below {PROGRAMS}; try `apt-get install postgresql`")
    return found[-1].parent


def _account() -> str | None:
    """Return whom to run as, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
