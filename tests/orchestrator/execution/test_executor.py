"""Trials on a real Ray of several nodes, whose nodes and workers are really killed. The trials are made of waiting."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from command_line import SPEC, wait_until
from orchestrator.execution import executor, ray_cluster
from orchestrator.execution.callbacks import Callback
from orchestrator.execution.worker import WorkerSettings
from orchestrator.planning.plan import plan
from orchestrator.scheduling.admission import Scheduler
from orchestrator.scheduling.resources import SweepState, request_of
from orchestrator.scheduling.retries import RetryPolicy
from orchestrator.spec.file import spec_from_text
from workers.outcome import Cause, Outcome, Progress, TrialState
from workers.trial import Resources

# isort: split
import ray
from ray.cluster_utils import Cluster

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.slow
TOKEN = "0123456789abcdef" * 4
LAST_STEP = 8
PLANNED = plan(spec_from_text(SPEC, "spec")).trials


@pytest.fixture(scope="module")
def nodes(local_ray):
    """A head without devices and two nodes with two CPUs and a GPU each, the second of another kind."""
    local_ray.end()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        add_node(made, "H200")
        add_node(made, "A100")
        with ray_cluster.connected_ray(made.address):
            yield made
        made.shutdown()


def add_node(made, kind):
    return made.add_node(num_cpus=2, num_gpus=1, resources={f"accelerator_type:{kind}": 1})


def is_clean():
    actors = ray._private.state.actors().values()
    groups = ray.util.placement_group_table().values()
    return all(actor["State"] == "DEAD" for actor in actors) and all(g["state"] == "REMOVED" for g in groups)


@pytest.fixture
def run(nodes, tmp_path):
    """Run trials, and see afterwards that no actor, placement group or process is left."""

    def go(trials, work, callback=None, **options):
        settings = WorkerSettings(str(tmp_path), "test", "data", 30.0)
        given = {"stop": threading.Event(), "scheduler": Scheduler(ray_cluster.nodes), "sweep": "test"}
        return executor.execute(
            trials, settings, [callback or Heard(tmp_path)], executor.RunOptions(**given | options), work
        )

    yield go
    wait_until(is_clean)
    wait_until(lambda: not any(psutil.pid_exists(int(path.read_text())) for path in tmp_path.glob("*/pid-*")))


class Heard(Callback):
    """Writes down what happens, and does something at one moment: once, when a trial has come to its second step."""

    def __init__(self, folder, act=None):
        self.folder, self.act, self.events = folder, act, []

    def of(self, kind):
        return [event[1:] for event in self.events if event[0] == kind]

    def started(self, trial_id, ranks):
        self.events.append(("started", trial_id, ranks))

    def progressed(self, trial_id, progress):
        self.events.append(("progressed", trial_id, progress.epoch))

    def interrupted(self, trial_id, attempts, why):
        self.events.append(("interrupted", trial_id, attempts, why))

    def preempted(self, trial_id):
        self.events.append(("preempted", trial_id))

    def ended(self, trial_id, outcome):
        self.events.append(("ended", trial_id, outcome.state))

    def held_back(self, why):
        self.events.append(("held back", why))

    def stopping(self):
        self.events.append(("stopping",))

    def tick(self):
        ready = next(self.folder.glob("*/at-2"), None) if self.act else None
        if ready is not None:
            act, self.act = self.act, None
            act(ready.parent)


def pid(folder, rank=0):
    return int((folder / f"pid-{rank}").read_text())


def write(path, value):
    path.with_suffix(".tmp").write_text(str(value))
    path.with_suffix(".tmp").rename(path)


def train(job, settings, callbacks, pause=0.1):
    """Stand for a trial: takes steps, saves where it stops, and goes on from there. A gang's first rank saves."""
    folder = Path(settings.store) / job.trial_id
    folder.mkdir(exist_ok=True)
    rank = callbacks.rank.rank if callbacks.rank else 0
    saved = folder / "saved"
    write(folder / f"pid-{rank}", os.getpid())
    for step in range(int(saved.read_text()) if saved.exists() else 0, LAST_STEP):
        time.sleep(pause)
        callbacks.report(Progress(step + 1, LAST_STEP, None))
        if rank == 0:
            write(folder / f"at-{step + 1}", os.getpid())
        if callbacks.should_stop():
            if rank == 0:
                write(saved, step + 1)
            return Outcome(TrialState.STOPPED)
    return Outcome(TrialState.DONE)


def endure(job, settings, callbacks):
    """Train without end in the first attempt, so that whatever happens to it happens in the middle."""
    first = Path(settings.store) / f"first-{callbacks.rank.rank if callbacks.rank else 0}"
    if first.exists():
        return train(job, settings, callbacks)
    first.touch()
    while True:
        outcome = train(job, settings, callbacks)
        if outcome.state == TrialState.STOPPED:
            return outcome


def hang_once(job, settings, callbacks):
    first = Path(settings.store) / "hung"
    if first.exists():
        return train(job, settings, callbacks)
    write(first, os.getpid())
    time.sleep(1e6)
    raise AssertionError


def die(job, settings, callbacks):
    os.kill(os.getpid(), signal.SIGKILL)


def lose_the_store(job, settings, callbacks):
    return Outcome(TrialState.INTERRUPTED, "store: away", Cause.STORE)


def lose_the_store_twice(job, settings, callbacks):
    counts = Path(settings.store) / "tries"
    tried = len(counts.read_text()) if counts.exists() else 0
    counts.write_text("x" * (tried + 1))
    return lose_the_store(job, settings, callbacks) if tried < 2 else Outcome(TrialState.DONE)


def fail(job, settings, callbacks):
    return Outcome(TrialState.FAILED, "the loss is nan")


def meet(job, settings, callbacks):
    """End once all ranks of this trial are there at the same time."""
    folder = Path(settings.store) / job.trial_id
    folder.mkdir(exist_ok=True)
    write(folder / f"pid-{callbacks.rank.rank}", os.getpid())
    while len(list(folder.glob("pid-*"))) < callbacks.rank.size:
        if callbacks.should_stop():
            return Outcome(TrialState.STOPPED)
        time.sleep(0.05)
    write(folder / f"address-{callbacks.rank.rank}", callbacks.rank.address)
    return Outcome(TrialState.DONE)


def with_resources(number=3, **resources):
    return [replace(planned, resources=Resources(**resources)) for planned in PLANNED[:number]]


def test_all_trials_run_and_processes_are_reused(run, tmp_path):
    """As many processes as fit at once, for any number of trials of one shape."""
    heard = Heard(tmp_path)
    trials = with_resources(cpus=4 / 2)
    outcomes = run(trials, train, heard)
    assert outcomes == dict.fromkeys((planned.trial_id for planned in trials), Outcome(TrialState.DONE))
    assert len({pid(tmp_path / planned.trial_id) for planned in trials}) == 2


def test_killed_worker_is_tried_again(run, tmp_path):
    """It counts as an interruption; the trial comes to its end."""
    heard = Heard(tmp_path, lambda folder: os.kill(pid(folder), signal.SIGKILL))
    (outcome,) = run(with_resources(1), endure, heard).values()
    assert outcome == Outcome(TrialState.DONE)
    assert heard.of("interrupted") == [(PLANNED[0].trial_id, 1, "worker died")]


def test_sigterm_to_a_worker_saves_first(run, tmp_path):
    """The trial stops after its step, and another process goes on from there."""
    heard = Heard(tmp_path, lambda folder: os.kill(pid(folder), signal.SIGTERM))
    (outcome,) = run(with_resources(1), endure, heard).values()
    assert outcome == Outcome(TrialState.DONE)
    assert [why for *_, why in heard.of("interrupted")] == ["worker received SIGTERM"]
    assert int((tmp_path / PLANNED[0].trial_id / "saved").read_text()) >= 2


@pytest.mark.parametrize("how", ["blocked", "frozen"])
def test_hung_trial_is_killed_and_tried_again(run, tmp_path, how):
    """Whether its step blocks, or its whole process no longer answers."""
    freeze = None if how == "blocked" else lambda folder: os.kill(pid(folder), signal.SIGSTOP)
    heard = Heard(tmp_path, freeze)
    policy = RetryPolicy(hung_after_minutes=2.0 / 60)
    (outcome,) = run(with_resources(1), hang_once if how == "blocked" else endure, heard, retries=policy).values()
    assert outcome == Outcome(TrialState.DONE)
    assert [why for *_, why in heard.of("interrupted")] == ["trial hung, worker killed"]
    if how == "blocked":
        wait_until(lambda: not psutil.pid_exists(int((tmp_path / "hung").read_text())))


def test_worker_that_always_dies_is_given_up(run):
    (outcome,) = run(with_resources(1), die, retries=RetryPolicy(without_progress=1)).values()
    assert (outcome.state, outcome.cause) == (TrialState.INTERRUPTED, Cause.WORKER_DIED)
    assert "2 times without progress" in outcome.message


def test_failure_is_not_tried_again(run, tmp_path):
    heard = Heard(tmp_path)
    (outcome,) = run(with_resources(1), fail, heard).values()
    assert outcome == Outcome(TrialState.FAILED, "the loss is nan")
    assert len(heard.of("started")) == 1


def test_store_is_tried_again_after_a_pause_and_given_up_in_the_end(run):
    policy = RetryPolicy(store=2, back_off_seconds=0.1)
    (outcome,) = run(with_resources(1), lose_the_store_twice, retries=policy).values()
    assert outcome == Outcome(TrialState.DONE)
    (outcome,) = run(with_resources(1), lose_the_store, retries=policy).values()
    assert outcome.message.startswith("store: away; given up after 3 attempts")
    assert outcome.cause == Cause.STORE


def test_gangs_start_whole_and_one_after_the_other_where_both_do_not_fit(run, tmp_path):
    """Three gangs of two ranks want both GPUs each: no gang holds one and waits for the other."""
    trials = with_resources(cpus=1, gpus=1, ranks=2)
    outcomes = run(trials, meet)
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    for planned in trials:
        addresses = {(tmp_path / planned.trial_id / f"address-{rank}").read_text() for rank in range(2)}
        assert len(addresses) == 1


def test_gpu_kind_decides_the_node(run, tmp_path):
    (outcome,) = run(with_resources(1, cpus=1, gpus=0.5, gpu_kind="A100"), where).values()
    assert outcome.state == TrialState.DONE
    (node,) = (node for node in ray_cluster.nodes() if node.gpu_kind == "A100")
    assert (tmp_path / "where").read_text() == node.node_id


def where(job, settings, callbacks):
    write(Path(settings.store) / "where", ray.get_runtime_context().get_node_id())
    return Outcome(TrialState.DONE)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"cpus": 3}, "no node has 3 CPU;"),
        ({"gpus": 2}, "no node has 1 CPU, 2 GPU;"),
        ({"gpus": 1, "gpu_kind": "B200"}, "no node has 1 CPU, 1 GPU (B200);"),
        ({"gpus": 1, "ranks": 3}, "the nodes together cannot hold 3 ranks of 1 CPU, 1 GPU;"),
        ({"memory_gib": 1e6}, "no node has 1 CPU, 1e+06 GiB of memory;"),
    ],
)
def test_what_can_never_start_is_said_before(nodes, resources, message):
    assert message in ray_cluster.unplaceable(with_resources(1, **resources))


@pytest.mark.parametrize("resources", [{"gpus": 1, "ranks": 2}, {"gpus": 1, "ranks": 3, "min_ranks": 1}, {"cpus": 2}])
def test_what_can_start_is_not_complained_of(nodes, resources):
    assert ray_cluster.unplaceable(with_resources(1, **resources)) is None


def test_cancelled_trials_stop_or_never_start(run, tmp_path):
    """One is cancelled before it starts, one while it runs; the third is done."""
    cancelled = {PLANNED[1].trial_id}
    heard = Heard(tmp_path, lambda folder: cancelled.add(folder.name))
    outcomes = run(with_resources(cpus=2, gpus=1), slowly, heard, cancelled=lambda: cancelled)
    assert PLANNED[1].trial_id not in outcomes
    assert sorted(outcome.state for outcome in outcomes.values()) == ["done", "stopped"]


def slowly(job, settings, callbacks):
    return train(job, settings, callbacks, pause=0.5)


def test_stop_saves_what_runs_and_starts_no_more(run, tmp_path):
    stop = threading.Event()
    outcomes = run(with_resources(cpus=2, gpus=1, ranks=2), endure, Heard(tmp_path, lambda _: stop.set()), stop=stop)
    assert outcomes == {PLANNED[0].trial_id: Outcome("stopped")}
    assert (tmp_path / PLANNED[0].trial_id / "saved").exists()


def test_nothing_starts_beyond_a_budget(run, tmp_path):
    """The reason reaches the listener, and the run ends once what runs has ended."""
    heard = Heard(tmp_path)
    asked = []

    def may_launch(planned):
        asked.append(planned.trial_id)
        return "the budget is spent" if len(set(asked)) > 1 else None

    outcomes = run(with_resources(), train, heard, may_launch=may_launch)
    assert outcomes == {PLANNED[0].trial_id: Outcome(TrialState.DONE)}
    assert ("the budget is spent",) in heard.of("held back")


def test_running_trials_are_reported_by_what_their_costs_count(run):
    """A trial that holds two CPUs for one thread uses one device, while it runs and after it has ended."""
    states = []

    class Recording(Scheduler):
        def report(self, state, now=None):
            states.append(state)
            return super().report(state, now)

    run(with_resources(1, cpus=2), train, scheduler=Recording(ray_cluster.nodes))
    running = [state for state in states if state.running]
    assert running
    for state in running:
        assert state.device_seconds == pytest.approx(sum(trial.seconds for trial in state.running))
    assert states[-1].device_seconds >= max(state.device_seconds for state in running) > 0


def test_preempted_trial_makes_room_and_goes_on_where_it_was(run, tmp_path):
    """It saves, another sweep's trial of high priority has the room, then it goes on; no interruption is counted."""
    scheduler = Scheduler(ray_cluster.nodes)
    trials = with_resources(1, cpus=2, ranks=2)
    urgent = SweepState(
        "urgent", "high", waiting=((replace(request_of(trials[0].resources, trials[0].trial.training), ranks=1), 1),)
    )

    class Watching(Heard):
        def preempted(self, trial_id):
            super().preempted(trial_id)
            scheduler.leave("urgent")

    heard = Watching(tmp_path, lambda _: scheduler.report(urgent))
    (outcome,) = run(trials, endure, heard, scheduler=scheduler).values()
    assert outcome == Outcome(TrialState.DONE)
    assert heard.of("preempted") == [(trials[0].trial_id,)]
    assert heard.of("interrupted") == []
    assert [ranks for _, ranks in heard.of("started")] == [2, 2]
    assert (tmp_path / trials[0].trial_id / "saved").exists()


def test_drained_node_is_left_with_everything_saved(run, nodes, tmp_path):
    """As when `ray start --block` gets a SIGTERM: the trial saves, and goes on elsewhere."""
    node = add_node(nodes, "B200")
    trials = with_resources(1, cpus=1, gpus=1, ranks=3, min_ranks=1)
    wait_until(lambda: len(ray_cluster.nodes()) == 4)
    drain = f"ray drain-node --address {nodes.address} --node-id {node.node_id} --reason DRAIN_NODE_REASON_PREEMPTION"
    command = [Path(sys.executable).parent / "ray", *drain.split()[1:]]
    command += ["--reason-message", "test", "--deadline-remaining-seconds", "60"]
    heard = Heard(tmp_path, lambda _: subprocess.run(command, check=True, capture_output=True))
    (outcome,) = run(trials, endure, heard).values()
    assert outcome == Outcome(TrialState.DONE)
    assert [why for *_, why in heard.of("interrupted")] == ["node draining"]
    assert [ranks for _, ranks in heard.of("started")] == [3, 2]
    assert (tmp_path / PLANNED[0].trial_id / "saved").exists()
    nodes.remove_node(node, allow_graceful=False)


def test_gang_goes_on_with_the_ranks_that_are_left(run, nodes, tmp_path):
    """A node is killed under a rank: its gang ends whole, and starts anew with one rank, which its trial allows."""
    node = add_node(nodes, "B200")
    wait_until(lambda: len(ray_cluster.nodes()) == 4)
    trials = with_resources(1, cpus=1, gpus=1, ranks=3, min_ranks=2)
    heard = Heard(tmp_path, lambda _: nodes.remove_node(node, allow_graceful=False))
    (outcome,) = run(trials, endure, heard).values()
    assert outcome == Outcome(TrialState.DONE)
    assert [ranks for _, ranks in heard.of("started")] == [3, 2]
    assert [why for *_, why in heard.of("interrupted")] == ["node lost"]


def test_killed_driver_leaves_nothing(nodes, tmp_path):
    """Nothing of Ray's is left of a driver that could not clean up, with a trial, a gang, and a gang that waits."""
    script = f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
        import test_executor as t
        t.ray.cloudpickle.register_pickle_by_value(t)
        settings = t.WorkerSettings({str(tmp_path)!r}, "test", "data", 30.0)
        terms = t.executor.RunOptions(t.threading.Event(), t.Scheduler(t.ray_cluster.nodes), "test")
        trials = t.with_resources(3, cpus=1)[2:] + t.with_resources(2, cpus=1, gpus=1, ranks=2)
        with t.ray_cluster.connected_ray({nodes.address!r}):
            t.executor.execute(trials, settings, [t.Heard(t.Path({str(tmp_path)!r}))], terms, t.for_ever)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], start_new_session=True)
    pids = wait_until(lambda: len(found := list(tmp_path.glob("*/pid-*"))) == 3 and found)
    workers = [psutil.Process(int(path.read_text())) for path in pids]
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    wait_until(is_clean)


def for_ever(job, settings, callbacks):
    return train(job, settings, callbacks, pause=1e6)
