"""What can go wrong, one function each: it breaks something, mends it, and returns what it hit; None where nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import psutil

from fault_proxy import Answer, Cut, CutAnswer, CutRequest, Delay, LoseAnswer, Slow
from workers.accounting.costs import COSTS

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable

    from chaos.world import Run, World
    from fault_proxy import Fault as Broken
    from fault_proxy import FaultProxy

Fault = "Callable[[World, random.Random], str | None]"
HOUR = 3600
HITS_WITHIN_SECONDS = 20


# Processes.


def worker_killed(world: World, chance: random.Random) -> str | None:
    """Kill -9 of the process that trains a trial."""
    return _signal_worker(world, chance, signal.SIGKILL, "kill -9")


def worker_terminated(world: World, chance: random.Random) -> str | None:
    """SIGTERM to the process that trains a trial, which has time to save."""
    return _signal_worker(world, chance, signal.SIGTERM, "SIGTERM")


def trial_hung(world: World, chance: random.Random) -> str | None:
    """The process that trains a trial stands still and gives no sign of life, until somebody ends it."""
    working = _working(world, chance)
    if working is None:
        return None
    run, trial_id, process, epoch = working
    process.send_signal(signal.SIGSTOP)
    if world.wait_for(lambda: not _lives(process)) is None:
        world.lost.append(f"nobody ended process {process.pid} of {run.name}, which hung")
    return f"process {process.pid} stopped for good at epoch {epoch:.0f} of trial {trial_id[:8]} of {run.name}"


def node_killed(world: World, chance: random.Random) -> str | None:
    """Kill -9 of a node's own process: what runs there must end by itself. Another node takes its place."""
    node, worked_there = _node(world, chance)
    if not worked_there:
        return None
    raylet = next(child for child in psutil.Process(node.pid).children() if child.name() == "raylet")
    raylet.kill()
    _await_end(world, node)
    world.replace_node()
    return f"kill -9 of the raylet {raylet.pid}, where {worked_there} was at work"


def machine_lost(world: World, chance: random.Random) -> str | None:
    """Kill -9 of a node and of everything that runs there, at once. Another node takes its place."""
    node, worked_there = _node(world, chance)
    if not worked_there:
        return None
    world.cluster.kill(node)
    world.replace_node()
    return f"kill -9 of a whole node, where {worked_there} was at work"


def node_terminated(world: World, chance: random.Random) -> str | None:
    """SIGTERM to a node, which is taken away after a while. Another node takes its place."""
    node, worked_there = _node(world, chance)
    if not worked_there:
        return None
    node.terminate()
    _await_end(world, node)
    world.replace_node()
    return f"SIGTERM to the node {node.pid}, where {worked_there} was at work"


def head_killed(world: World, chance: random.Random) -> str | None:
    """Kill -9 of the head and of everything that runs there. Nodes and drivers end by themselves; a new cluster."""
    if _working(world, chance) is None:
        return None
    others = [node for node in world.cluster.nodes if node is not world.cluster.head]
    drivers = [run.driver for run in world.live if run.driven]
    world.cluster.kill(world.cluster.head)
    deadline = time.monotonic() + HITS_WITHIN_SECONDS * 15
    for process in [*others, *drivers]:
        with contextlib.suppress(Exception):
            process.wait(max(0.1, deadline - time.monotonic()))
        if process.poll() is None:
            world.lost.append(f"{process.args} did not end when the head was gone")
            process.kill()
    world.cluster.nodes.clear()
    world.cluster.start_head()
    for _ in others:
        world.cluster.add_node()
    return f"kill -9 of the head, under {len(others)} nodes and {len(drivers)} drivers"


def driver_killed(world: World, chance: random.Random) -> str | None:
    """Kill -9 of a sweep's driver; the same command is given again."""
    run = _driven(world, chance)
    if run is None:
        return None
    run.driver.kill()
    run.driver.wait()
    return f"kill -9 of {run.driver.pid}, the driver of {run.name}"


def driver_terminated(world: World, chance: random.Random) -> str | None:
    """SIGTERM to a sweep's driver, which lets what runs save; the same command is given again."""
    run = _driven(world, chance)
    if run is None:
        return None
    driver = run.driver
    driver.terminate()
    if world.wait_for(lambda: driver.poll() is not None) is None:
        world.lost.append(f"{run.name}: its driver did not end after a SIGTERM")
        driver.kill()
    # 0 where it was about to end; -15 where it was yet to begin.
    elif driver.returncode not in (130, 0, 1, -signal.SIGTERM):
        world.lost.append(f"{run.name}: its driver ended with {driver.returncode} after a SIGTERM")
    return f"SIGTERM to {driver.pid}, the driver of {run.name}, which ended with {driver.returncode}"


def second_submit(world: World, chance: random.Random) -> str | None:
    """The same sweep is submitted while it runs; the second one must leave it alone."""
    run = _driven(world, chance)
    if run is None:
        return None
    second, first = run.submit(), run.driver
    if world.wait_for(lambda: second.poll() is not None) is None:
        world.lost.append(f"{run.name}: a second submit did not end")
        second.kill()
    if first.poll() is not None or run.driver is not first:
        return None  # the first one has ended meanwhile, and there was nothing to leave alone
    if second.returncode != 2:
        world.lost.append(f"{run.name}: a second submit ended with {second.returncode}, not 2")
    return f"{run.name} submitted while it runs"


def two_submits(world: World, chance: random.Random) -> str | None:
    """A sweep's driver is killed, and two people give the command again at once: one of them runs it."""
    run = _driven(world, chance)
    if run is None:
        return None
    run.driver.kill()
    run.driver.wait()
    run.driver, other = run.submit(), run.submit()
    first, second = run.driver, other
    if world.wait_for(lambda: first.poll() is not None or second.poll() is not None) is None:
        world.lost.append(f"{run.name}: two submits at once both run")
        other.kill()
    ended, run.driver = (second, first) if second.poll() is not None else (first, second)
    if ended.returncode not in (0, 2):
        world.lost.append(f"{run.name}: the second of two submits at once ended with {ended.returncode}, not 2")
    return f"{run.name} submitted twice at once after kill -9 of its driver"


def clock_off(world: World, chance: random.Random) -> str | None:
    """A node is replaced by one whose clock is an hour off, and it gets work."""
    node, worked_there = _node(world, chance)
    if not worked_there:
        return None
    off = chance.choice((-HOUR, HOUR))
    world.cluster.kill(node)
    world.replace_node(CLOCK_OFF_SECONDS=str(off))
    wrong = world.cluster.nodes[-1]
    if world.wait_for(lambda: _work_on(world, wrong) or not world.live, 3 * HITS_WITHIN_SECONDS) is None:
        return None
    return f"a node whose clock is {off:+d} s off took the place of another"


# MLflow.


def mlflow_killed(world: World, chance: random.Random) -> str | None:
    """Kill -9 of MLflow's server, which is started again later."""
    before = len(world.mlflow.requests())
    world.server.kill()
    hit = world.wait_for(lambda: len(world.mlflow.requests()) > before, HITS_WITHIN_SECONDS)
    world.wait(chance.uniform(0, 3))
    world.server.start()
    return hit and "kill -9 of MLflow's server, asked for metrics meanwhile"


def mlflow_locked(world: World, chance: random.Random) -> str | None:
    """Another program holds MLflow's database."""
    before = len(world.mlflow.requests())
    with contextlib.closing(world.server.database.connect()) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        hit = world.wait_for(lambda: len(world.mlflow.requests()) > before, HITS_WITHIN_SECONDS)
        world.wait(chance.uniform(0, 10))
        holder.rollback()
    return hit and "MLflow's database locked"


def mlflow_late(world: World, chance: random.Random) -> str | None:
    """MLflow answers half a minute late."""
    return _break(world, world.mlflow, [Delay(30)], 1.0, 31)


def mlflow_fails(world: World, chance: random.Random) -> str | None:
    """MLflow answers with errors, or does what it is asked for and nobody hears of it."""
    return _break(world, world.mlflow, [Answer(500), Answer(503), LoseAnswer()], 0.25, chance.uniform(1, 8))


# The object store.


def s3_fails(world: World, chance: random.Random) -> str | None:
    """The object store answers half of the time with errors."""
    return _break(world, world.s3, [Answer(500), Answer(503)], 0.25, chance.uniform(1, 6))


def s3_cuts(world: World, chance: random.Random) -> str | None:
    """Connections to the object store are cut: before, in the middle of and after what was asked for."""
    faults = [Cut(), CutRequest(400), CutAnswer(100), LoseAnswer()]
    return _break(world, world.s3, faults, 0.1, chance.uniform(1, 6))


def s3_slow(world: World, chance: random.Random) -> str | None:
    """Connections to the object store are slow."""
    return _break(world, world.s3, [Slow(chance.choice((3e3, 3e4)))], 1.0, chance.uniform(1, 8))


def s3_away(world: World, chance: random.Random) -> str | None:
    """The object store takes no connections for some seconds."""
    if not any(_at_work(run) for run in world.live if not run.is_on_disk):
        return None
    world.s3.refuse()
    world.wait(seconds := chance.uniform(1, 8))
    world.s3.accept()
    return f"no connections to the object store for {seconds:.1f} s"


# The disk.


def disk_full(world: World, chance: random.Random) -> str | None:
    """The store's disk is full, and later is not."""
    if not world.disk_is_own:
        return None
    filler = world.disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as handle:
            while handle.write(bytes(4096)):
                pass

    return _refuse_writes(world, chance, fill, filler.unlink, "no space left on the store's disk")


def quota_reached(world: World, chance: random.Random) -> str | None:
    """The user's quota on the store's disk is used up, and later is not."""
    flag = world.quota_reached
    return _refuse_writes(world, chance, flag.touch, flag.unlink, "the quota on the store's disk reached")


# Files.


def checkpoint_cut(world: World, chance: random.Random) -> str | None:
    """The newest checkpoint of a trial is cut, and its worker killed, so that the checkpoint matters."""
    working = _working(world, chance)
    if working is None:
        return None
    run, trial_id, process, _ = working
    folder = run.store.trial(trial_id)
    process.suspend()
    names = folder.names("checkpoint/step-*")
    content = folder.read(names[-1]) if names else None
    if content:
        folder.write(names[-1], content[: chance.randrange(len(content))])
    process.kill()
    return content and f"{names[-1]} of trial {trial_id[:8]} of {run.name} cut, and its worker killed"


def manifest_cut(world: World, chance: random.Random) -> str | None:
    """The manifest of a trial that is done is cut, which makes the trial one that is not done."""
    return _cut_result(world, chance, lambda _: "manifest.json")


def parquet_cut(world: World, chance: random.Random) -> str | None:
    """A Parquet file of a trial that is done is cut."""
    return _cut_result(
        world, chance, lambda names: chance.choice([name for name in names if name.endswith(".parquet")])
    )


def costs_cut(world: World, chance: random.Random) -> str | None:
    """The costs of a trial that is being trained are cut, and its worker is killed."""
    working = _working(world, chance)
    if working is None:
        return None
    run, trial_id, process, _ = working
    process.suspend()
    folder = run.store.trial(trial_id)
    content = folder.read(COSTS)
    folder.write(COSTS, content[: chance.randrange(len(content))])
    process.kill()
    return f"{COSTS} of trial {trial_id[:8]} of {run.name} cut, and its worker killed"


FAULTS = (
    *(worker_killed, worker_terminated, trial_hung, node_killed, machine_lost, node_terminated, head_killed),
    *(driver_killed, driver_terminated, second_submit, two_submits, clock_off),
    *(mlflow_killed, mlflow_locked, mlflow_late, mlflow_fails),
    *(s3_fails, s3_cuts, s3_slow, s3_away),
    *(disk_full, quota_reached, checkpoint_cut, manifest_cut, parquet_cut, costs_cut),
)


def _working(world: World, chance: random.Random) -> tuple[Run, str, psutil.Process, float] | None:
    found = [(run, *each) for run in world.live for each in _at_work(run)]
    return chance.choice(found) if found else None


def _at_work(run: Run) -> list[tuple[str, psutil.Process, float]]:
    return list(run.at_work())


def _signal_worker(world: World, chance: random.Random, number: int, words: str) -> str | None:
    working = _working(world, chance)
    if working is None:
        return None
    run, trial_id, process, epoch = working
    process.send_signal(number)
    return f"{words} of {process.pid} at epoch {epoch:.0f} of trial {trial_id[:8]} of {run.name}"


def _node(world: World, chance: random.Random) -> tuple[subprocess.Popen, str]:
    node = chance.choice([node for node in world.cluster.nodes if node is not world.cluster.head])
    return node, ", ".join(_work_on(world, node))


def _work_on(world: World, node: subprocess.Popen) -> list[str]:
    there = {process.pid for process in world.processes.of([node.pid])}
    return [
        f"trial {t[:8]} of {run.name}" for run in world.live for t, process, _ in _at_work(run) if process.pid in there
    ]


def _await_end(world: World, node: subprocess.Popen) -> None:
    if world.wait_for(lambda: node.poll() is not None) is None:
        world.lost.append(f"the node {node.pid} did not end")
        world.cluster.kill(node)


def _driven(world: World, chance: random.Random) -> Run | None:
    # One that has come so far as to run something.
    running = [run for run in world.live if run.driven and _at_work(run)]
    return chance.choice(running) if running else None


def _break(world: World, proxy: FaultProxy, faults: list[Broken], share: float, seconds: float) -> str | None:
    kinds = {type(fault) for fault in faults}
    before = len(proxy.requests(*kinds))
    for fault in faults:
        proxy.inject(fault, share=share)
    hit = world.wait_for(lambda: len(proxy.requests(*kinds)) > before, HITS_WITHIN_SECONDS)
    if hit:
        world.wait(seconds)
    proxy.clear()
    count = len(proxy.requests(*kinds)) - before
    return f"{' '.join(map(str, faults))}: {count} requests" if count else None


def _refuse_writes(
    world: World, chance: random.Random, refuse: Callable[[], object], allow: Callable[[], object], words: str
) -> str | None:
    on_disk = [run for run in world.live if run.is_on_disk and _at_work(run)]
    if not on_disk:
        return None
    before = {run.name: run.text().count("no space is left") for run in on_disk}
    refuse()
    try:
        hit = world.wait_for(
            lambda: any(run.text().count("no space is left") > before[run.name] for run in on_disk),
            HITS_WITHIN_SECONDS,
        )
        world.wait(chance.uniform(0, 4))
    finally:
        allow()
    return words if hit else None


def _cut_result(world: World, chance: random.Random, choose: Callable[[list[str]], str]) -> str | None:
    done = [(run, trial_id) for run in world.live for trial_id in run.done()]
    if not done:
        return None
    run, trial_id = chance.choice(done)
    folder = run.store.trial(trial_id)
    name = choose(sorted(folder.manifest().files))
    content = folder.read(name)
    run.seen.damaged[trial_id] += 1
    folder.write(name, content[: chance.randrange(len(content))])
    return f"{name} of trial {trial_id[:8]} of {run.name} cut"


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
