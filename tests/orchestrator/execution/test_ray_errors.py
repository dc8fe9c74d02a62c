"""Ray's errors, raised by the installed Ray: a text that Ray rewords fails a test here. Jobs: remote/test_jobs.py."""

import os
import signal
import sys
import time

import pytest

from command_line import wait_until
from orchestrator.execution import ray_cluster
from orchestrator.execution.ray_errors import cause_of

# isort: split
import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

pytestmark = pytest.mark.slow
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Process:
    """A process of Ray's with one number of attempts, as a trial's; it may fail to start."""

    def __init__(self, missing=""):
        if missing:
            raise ModuleNotFoundError(missing)

    def pid(self):
        return os.getpid()

    def wait(self):
        time.sleep(1e6)

    def fail(self, missing):
        raise ModuleNotFoundError(missing)


@pytest.fixture
def connected(cluster, token):
    with ray_cluster.connected_ray(f"127.0.0.1:{cluster.port}"):
        yield cluster


def start(*arguments, node_id=None):
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False) if node_id else None
    options = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": strategy}
    return ray.remote(Process).options(**options).remote(*arguments)


def add_node(cluster, **variables):
    """Start a node of a cluster; returns its process and its id."""
    before = {node.node_id for node in ray_cluster.nodes()}
    process = cluster.add_node(**variables)
    (node_id,) = wait_until(lambda: {node.node_id for node in ray_cluster.nodes()} - before)
    return process, node_id


def error_of(reference):
    with pytest.raises(RayError) as raised:
        ray.get(reference, timeout=120)
    return raised.value


def test_a_killed_worker_has_died(connected):
    process = start()
    pid = ray.get(process.pid.remote())
    waiting = process.wait.remote()
    os.kill(pid, signal.SIGKILL)
    assert cause_of(error_of(waiting)) == ("died", "")


def test_a_worker_that_cannot_start_tells_why(connected):
    error = error_of(start("models").pid.remote())
    assert cause_of(error) == ("died", "its worker could not start: ModuleNotFoundError: models")


def test_an_error_outside_of_the_trial_is_told(connected):
    error = error_of(start().fail.remote("models"))
    assert cause_of(error) == ("died", "its worker failed: ModuleNotFoundError: models")


def test_a_killed_node_is_told_from_a_killed_worker(connected):
    """At once, when nobody has noticed but the connection is gone, and when the head knows that the node is dead."""
    node, node_id = add_node(connected)
    process = start(node_id=node_id)
    ray.get(process.pid.remote())
    waiting = process.wait.remote()
    connected.kill(node)
    assert cause_of(error_of(waiting)) == ("node", "")
    wait_until(lambda: node_id not in {node.node_id for node in ray_cluster.nodes()})
    error = wait_until(lambda: known_dead(error_of(process.pid.remote())))
    assert cause_of(error) == ("node", "")


def known_dead(error):
    return error if isinstance(error, ActorDiedError) else None


def test_a_worker_that_ray_killed_for_memory_is_told(connected):
    """On a node that may use no memory at all."""
    node, node_id = add_node(connected, RAY_memory_usage_threshold="0", RAY_memory_monitor_refresh_ms="100")
    assert cause_of(error_of(start(node_id=node_id).wait.remote())) == ("host memory", "")
    connected.kill(node)
