"""Everything that a sweep depends on, real and breakable: a cluster, two stores, MLflow, and drivers started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from chaos.losses import Seen, losses
from chaos.processes import Descendants
from fault_proxy import FaultProxy
from mlflow_server import Backend
from orchestrator.remote.package import build_package
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.status import read_statuses
from orchestrator.tracking.forward import forward_sweeps
from ray_cluster import EXECUTABLES, RayCluster, clean_environment
from workers.outcome import TrialState
from workers.store.layout import PROGRESS
from workers.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow_server import MLflowServer
    from object_server import ObjectServer
    from orchestrator.planning.plan import Plan

SPEC = """\
name: {name}
dataset: {{name: digits, train_limit: 256}}
architecture: {{name: mlp, hidden: [32], latent_units: 4}}
methods:
  - {{kind: mr-vae, beta_range: [0.01, 10]}}
  - {{kind: beta-vae, betas: [0.1, 1]}}
training: {{epochs: {epochs}, batch_size: 64, learning_rate: 1e-3}}
seeds: [{seed}]
evaluation: {{betas: [0.1, 1]}}
resources: {{cpus: 2}}
retries: {{hung: 100, hung_after_minutes: 0.5}}
"""
"""A trial takes a whole node, so that what is broken there is in its middle."""
LEASE_SECONDS = 12
DISK_MIB = 96
OF_A_NODE = tuple(f"ray::{name}" for name in ("IDLE", "Scheduler", "DashboardAgent", "RuntimeEnvAgent"))
"""The processes that a node keeps when no sweep runs."""
BOUND_SECONDS = 300
"""Ends what is broken; nothing is taken to be wrong because it took long."""
STARTS_IN_A_ROW = 8
LEAST_SECONDS_BETWEEN_STARTS = 5.0
"""A command that is refused at once, because a disk is full, is not given again at once."""


@dataclass
class Run:
    """A sweep, from its first submission until it is done: the same command again whenever its driver has ended.

    `place` is the store as the driver knows it, `store` the same without anything broken in between.
    """

    plan: Plan
    place: str
    store: Store
    log: Path
    start: Callable[[Run], subprocess.Popen[bytes]]
    seen: Seen = field(default_factory=Seen)
    driver: subprocess.Popen[bytes] | None = None
    ended: bool = False
    lost: list[str] = field(default_factory=list)
    _starts: int = 0
    _next_start: float = 0.0
    _progress: tuple[int, float] = (0, 0.0)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.plan.name

    @property
    def is_on_disk(self) -> bool:
        """Whether its store is on the disk that can be filled."""
        return self.store.is_local

    @property
    def driven(self) -> bool:
        """Whether its driver is alive."""
        return self.driver is not None and self.driver.poll() is None

    def submit(self) -> subprocess.Popen[bytes]:
        """Give the command to run the sweep, whoever else may run it."""
        return self.start(self)

    def tend(self) -> None:
        """Give the command again if the one before has ended and there is something left to do."""
        self._look()
        if self.ended or self.driven:
            return
        if self.driver is not None and self.driver.returncode == 0 and self._is_done():
            self.ended = True
            return
        if time.monotonic() < self._next_start:
            return
        self._next_start = time.monotonic() + LEAST_SECONDS_BETWEEN_STARTS
        reached = self._reached()
        self._starts = self._starts + 1 if reached == self._progress else 1
        self._progress = reached
        if self._starts > STARTS_IN_A_ROW:
            self.ended = True
            self.lost.append(f"{self.name}: {STARTS_IN_A_ROW} submits in a row came no further; see {self.log}")
            return
        self.driver = self.submit()

    def at_work(self) -> Iterator[tuple[str, psutil.Process, float]]:
        """Yield the trials that a living process trains, with it and the epoch they were at."""
        for trial_id, progress in self._progresses():
            if self.store.trial(trial_id).exists("manifest.json"):
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(progress["pid"])
                # A process that has just ended has no command line.
                if "".join(process.cmdline()[:1]).startswith("ray::"):
                    yield trial_id, process, progress["epoch"]

    def done(self) -> list[str]:
        """Return the trials that are done."""
        return [each.trial_id for each in self.plan.trials if self.store.trial(each.trial_id).manifest() is not None]

    def text(self) -> str:
        """Return everything that its drivers have printed."""
        return self.log.read_text(errors="replace")

    def _look(self) -> None:
        for trial_id, progress in self._progresses():
            self.seen.attempts.setdefault(trial_id, set()).add(progress["attempt"])

    def _progresses(self) -> Iterator[tuple[str, dict]]:
        for each in self.plan.trials:
            if progress := self.store.trial(each.trial_id).read_json(PROGRESS):
                yield each.trial_id, progress

    def _is_done(self) -> bool:
        return all(status.state == TrialState.DONE for status in read_statuses(self.store, self.plan.trials).values())

    def _reached(self) -> tuple[int, float]:
        return len(self.done()), sum(progress["epoch"] for _, progress in self._progresses())


class World:
    """A head and two nodes, a store on a disk of its own and one on S3, and MLflow behind a proxy.

    The nodes' clocks are off by so many seconds. `say` is told what happens. What is started is gone at the end of the
    block, however it ends.
    """

    def __init__(
        self,
        objects: ObjectServer,
        server: MLflowServer,
        say: Callable[[str], None],
        *,
        epochs: int = 300,
        clocks: tuple[int, int] = (0, 0),
    ) -> None:
        self.objects, self.server, self.say = objects, server, say
        self.epochs, self.clocks = epochs, clocks
        self.runs: list[Run] = []
        self.lost: list[str] = []
        self._stack = contextlib.ExitStack()
        self._failed = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
            stack.callback(self._remove_folder)
            before_last = stack.enter_context(contextlib.ExitStack())
            self.processes = stack.enter_context(Descendants())
            self.disk, self.disk_is_own = self._mount_disk(stack)
            self.quota_reached = self.folder / "quota-reached"
            self.s3 = stack.enter_context(FaultProxy(self.objects.port))
            self.mlflow = stack.enter_context(FaultProxy(self.server.port))
            self.undisturbed = Store(self.folder / "undisturbed")
            self.prefix = self.objects.new_prefix()
            self.cluster = RayCluster(**self._breakable())
            # Again after its last process is gone, which may have written to it until then.
            before_last.callback(shutil.rmtree, self.cluster.folder, ignore_errors=True)
            stack.callback(self.cluster.end)
            for off in self.clocks:
                self.cluster.add_node(CLOCK_OFF_SECONDS=str(off))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failed = kind is not None or bool(self.lost)
        self._stack.close()

    @property
    def backend(self) -> Backend:
        """MLflow's rows."""
        return Backend(self.server.uri, self.server.database, "mrvae-orch")

    @property
    def live(self) -> list[Run]:
        """The sweeps that have not ended."""
        return [run for run in self.runs if not run.ended]

    def begin(self, number: int, *, on_disk: bool) -> Run:
        """Submit a new sweep; each has a seed of its own, so that nothing of it is there yet."""
        text = SPEC.format(name=f"{'disk' if on_disk else 's3'}-{number}", epochs=self.epochs, seed=number)
        direct, place = str(self.disk), str(self.disk)
        if not on_disk:
            direct = self.objects.url(self.prefix, lease_seconds=LEASE_SECONDS)
            place = self.objects.url(self.prefix, self.s3.port, lease_seconds=LEASE_SECONDS)
        store = Store.at(direct)
        spec = spec_from_text(text, "spec.yaml")
        folder = self.folder / spec.name
        folder.mkdir()
        build_package(spec, folder, code=False)
        run = Run(resolve(spec, store), place, store, folder / "driver.txt", self._start_driver)
        self.runs.append(run)
        run.tend()
        return run

    def tend(self) -> None:
        """Have every sweep go on that can."""
        for run in self.live:
            run.tend()

    def wait(self, seconds: float) -> None:
        """Let the sweeps go on for a while."""
        self.wait_for(lambda: False, seconds)

    def wait_for(self, condition: Callable[[], object], seconds: float = BOUND_SECONDS) -> object:
        """Let the sweeps go on until something is so, and return it; None where it was not so in time."""
        deadline = time.monotonic() + seconds
        while True:
            if found := condition():
                return found
            if time.monotonic() > deadline:
                return None
            self.tend()
            time.sleep(0.1)

    def replace_node(self, **variables: str) -> None:
        """Start a node in place of one that is gone."""
        self.cluster.nodes = [node for node in self.cluster.nodes if node.poll() is None]
        self.cluster.add_node(**variables)

    def conclude(self) -> None:
        """Check each sweep that has ended, after one `sync`, which nothing disturbs."""
        for run in [run for run in self.runs if run.ended]:
            self.runs.remove(run)
            lost = run.lost
            if not lost:
                with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                    forward_sweeps(run.store, [run.name], self.mlflow.url)
                lost = list(losses(run.store, run.name, self.undisturbed, self.backend, run.seen))
            if "Traceback (most recent call last)" in run.text():
                lost.append(f"{run.name}: a driver has ended with a trace; see {run.log}")
            self.lost += lost
            attempts = sum(map(len, run.seen.attempts.values()))
            self.say(f"{run.name} has ended, after {attempts} attempts or more: {'; '.join(lost) or 'nothing is lost'}")

    def finish(self) -> None:
        """Let what runs come to its end undisturbed, and check that nothing of it is left anywhere."""
        if self.wait_for(lambda: not self.live, 2 * BOUND_SECONDS) is None:
            self.lost += [f"{run.name}: does not end; see {run.log}" for run in self.live]
            return
        self.conclude()
        for what, left in (
            ("process", self._orphans),
            ("actor or placement group", self._leaked),
            ("worker process", self._workers),
        ):
            if self.wait_for(lambda left=left: not left(), 120) is None:
                self.lost.append(f"no {what} may be left, and these are: {left()}")

    def _orphans(self) -> list[str]:
        roots = [node.pid for node in self.cluster.nodes] + self.server.pids()
        return [str(process) for process in self.processes.orphans(roots)]

    def _leaked(self) -> list[str]:
        # The scheduler of a cluster outlives its drivers, as it should.
        actors = [actor for actor in self.cluster.state("actors") if actor["state"] != "DEAD"]
        leaked = [f"{actor['class_name']} {actor['state']}" for actor in actors if actor["class_name"] != "Scheduler"]
        groups = [group for group in self.cluster.state("placement_groups") if group["state"] != "REMOVED"]
        return leaked + [f"{group['name']} {group['state']}" for group in groups]

    def _workers(self) -> list[str]:
        found = []
        for process in self.processes.of(node.pid for node in self.cluster.nodes):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if title.startswith("ray::") and not title.startswith(OF_A_NODE):
                    found.append(title)
        return found

    def _start_driver(self, run: Run) -> subprocess.Popen[bytes]:
        command = [EXECUTABLES / "mrvae-orch", "submit", "spec.yaml", "--connect", "--store", run.place]
        options = ["--checkpoint-every", "0.2", "--tracking-uri", self.mlflow.url]
        with run.log.open("ab") as log:
            return subprocess.Popen(
                [*command, *options],
                cwd=run.log.parent,
                env={
                    **clean_environment(),
                    **self.cluster.token,
                    **self._breakable(),
                    "RAY_ADDRESS": f"127.0.0.1:{self.cluster.port}",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _breakable(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(preloaded(self.folder)),
            "QUOTA_REACHED": str(self.quota_reached),
            "QUOTA_FOLDER": f"{self.disk}/",
            # So long a node looks for its head, and a driver too; Ray's default is a minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        }

    def _mount_disk(self, stack: contextlib.ExitStack) -> tuple[Path, bool]:
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", str(disk)]
        with contextlib.suppress(OSError):
            if not subprocess.run(mount, capture_output=True, check=False).returncode:
                stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=False)
                return disk, True
        return disk, False

    def _remove_folder(self) -> None:
        if self._failed:
            self.say(f"what the drivers have printed, and the store, are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def preloaded(folder: Path) -> Path:
    """Compile what goes before libc, once."""
    library = folder / "preload.so"
    if not library.exists():
        source = Path(__file__).with_name("preload.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library
