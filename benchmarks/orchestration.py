"""What Ray, admission, the order, the retries and the progress cost a trial, over the trial's own work.

The same 1,000 one-step trials, once by plain processes, one a core, and once through the executor on a simulated
cluster of 8 nodes, 8 at a time; the difference is what orchestration adds, the start of 8 workers included.
This process is the driver; its memory is read when 250 and when all of the trials have ended.
"""

from __future__ import annotations

import io
import itertools
import logging
import multiprocessing
import os
import resource
import secrets
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from orchestrator.driver.heartbeat import Heartbeat
from orchestrator.driver.progress import ProgressView
from orchestrator.execution import executor, ray_cluster
from orchestrator.execution.worker import WorkerSettings
from orchestrator.planning.plan import plan
from orchestrator.scheduling.admission import Scheduler
from orchestrator.spec.file import spec_from_text
from workers.store.store import Store

TRIALS, NODES = 1000, 8
BOUND_SECONDS, BOUND_GIB = 0.1, 1.0
SPEC = f"""\
name: one-step
dataset: {{name: digits, train_limit: 128}}
architecture: {{name: mlp, hidden: [32], latent_units: 4}}
methods:
  - {{kind: beta-vae, betas: {{from: 0.01, to: 10, count: {TRIALS}}}}}
training: {{epochs: 1, batch_size: 128}}
seeds: [0]
evaluation: {{pictures: 0}}
resources: {{cpus: 1}}
"""


class _View(ProgressView):
    """Reads this process's memory whenever another quarter of the trials has ended."""

    def __init__(self, trials, heartbeat) -> None:
        super().__init__(Console(file=io.StringIO()), "benchmark", trials, heartbeat.snapshot)
        self.count = 0
        self.memory_mib = []

    def ended(self, trial_id, outcome) -> None:
        super().ended(trial_id, outcome)
        self.count += 1
        if self.count % (TRIALS // 4) == 0:
            self.memory_mib.append(_memory_mib())


def run() -> None:
    """Print the seconds a trial of both ways, their difference and the driver's memory against their bounds."""
    trials = plan(spec_from_text(SPEC, "benchmark")).trials
    with tempfile.TemporaryDirectory() as folder:
        through_ray, memory_mib = _through_ray(trials, Store(Path(folder) / "ray"))
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        alone = _alone(trials, Path(folder) / "alone")
    added = (through_ray - alone) / TRIALS
    verdict = "within" if added <= BOUND_SECONDS and peak_gib <= BOUND_GIB else "MISSED"
    print(
        f"{TRIALS} one-step trials, {NODES} at a time on {os.cpu_count()} cores: {alone / TRIALS:.3f} s each by plain "
        f"processes, {through_ray / TRIALS:.3f} s each through Ray ({through_ray:.1f} s in all): {added:.3f} s added a "
        f"trial, bound {BOUND_SECONDS:g} s; driver's memory {memory_mib[0]:.0f} MiB after {TRIALS // 4} trials and "
        f"{memory_mib[-1]:.0f} MiB after all, {peak_gib:.2f} GiB at most, bound {BOUND_GIB:g} GiB: {verdict}"
    )


def _through_ray(trials, store: Store) -> tuple[float, list[float]]:
    store.check_writable()
    settings = WorkerSettings(str(store.root), "benchmark", ".", 30.0)
    heartbeat = Heartbeat(store.sweep("benchmark"))
    view = _View(trials, heartbeat)
    with _simulated_cluster(), heartbeat.stage(trials, ray_cluster.nodes, slots=NODES):
        terms = executor.RunOptions(threading.Event(), Scheduler(ray_cluster.nodes), "benchmark")
        started = time.perf_counter()
        outcomes = executor.execute(trials, settings, [heartbeat, view], terms)
        seconds = time.perf_counter() - started
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    assert len(outcomes) == len(trials)
    return seconds, view.memory_mib


@contextmanager
def _simulated_cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    logging.getLogger("ray").setLevel(logging.ERROR)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(NODES):
            made.add_node(num_cpus=1)
        with ray_cluster.connected_ray(made.address):
            yield
    finally:
        made.shutdown()


def _alone(trials, folder: Path) -> float:
    """Return the seconds that plain processes take, each with torch imported and the data loaded before."""
    count = min(NODES, os.cpu_count() or 1)
    shares = [trials[index::count] for index in range(count)]
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_run_share, [share[:1] for share in shares], itertools.repeat(folder / "warm")))
        started = time.perf_counter()
        list(pool.map(_run_share, shares, itertools.repeat(folder)))
        return time.perf_counter() - started


def _run_share(trials, folder: Path) -> None:
    from workers.running.context import Context
    from workers.running.run import run_trial

    data = trials[0].trial.dataset.load(Path())
    for planned in trials:
        context = Context(Store(folder), "alone", planned.evaluation, planned.resources, load_data=lambda _: data)
        assert run_trial(planned.trial, context).state == "done"


def _memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    run()
