"""Sweeps on a real Ray cluster, as a user submits, joins, follows, stops and resumes them from a laptop."""

import json
import re
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from command_line import SPEC, CommandLine, wait_until
from orchestrator.errors import ClusterError, ClusterUnreachable
from orchestrator.remote.cluster import Cluster, job_family
from orchestrator.remote.jobs import RemoteSweep, submit_job
from orchestrator.spec.file import spec_from_text
from ray_cluster import RayCluster, free_port

LONG = ("--set", "training.epochs=200000", "--checkpoint-every", "0.5")


def jobs_of(laptop, cluster, sweep="tiny"):
    return Cluster(cluster.address).jobs(job_family(sweep, str(laptop.store)))


def trial_begun(laptop):
    return next((path.parent for path in laptop.store.glob("trials/*/progress.json")), None)


def stop(laptop, cluster):
    cancelled = laptop.ask("cancel", "tiny", "--address", cluster.address)
    assert cancelled.code == 0, cancelled.err
    wait_until(lambda: jobs_of(laptop, cluster)[-1].ended)


@pytest.mark.slow
def test_two_submits_at_once_are_one_job_that_both_follow(laptop, cluster, token):
    """The code travels too; both end when the sweep has, and every trial is done once."""
    place = ("--store", str(laptop.store), "--address", cluster.address)
    submits = [laptop.start("submit", "spec.yaml", *place, "--follow", "--code") for _ in range(2)]
    printed = [process.communicate(timeout=300) for process in submits]
    assert [process.returncode for process in submits] == [0, 0], printed
    for out, _ in printed:
        assert "done 3/3" in out
        assert "Report: " in out
    (job,) = jobs_of(laptop, cluster)
    assert (job.status, job.job_id[-2:]) == ("SUCCEEDED", "-1")
    trials = json.loads(laptop.ask("status", "tiny", "--json").out)["trials"]
    assert [(trial["state"], trial["attempts"]) for trial in trials] == [("done", 1)] * 3
    # The workers ran the code that was sent, which has its commit where this is a checkout.
    manifest = json.loads((laptop.trial_folder(trials[0]["trial_id"]) / "manifest.json").read_text())
    assert re.fullmatch(r"0\.1\.0(\+[0-9a-f]+(\.changes)?)?", manifest["provenance"]["mrvae-orch"])
    listed = json.loads(laptop.ask("list", "--json", "--address", cluster.address).out)
    assert [sweep["counts"] for sweep in listed["sweeps"]] == [{"done": 3}]
    assert job.job_id in [each["job"] for each in listed["jobs"]]
    assert "done 3/3" in laptop.ask("logs", "tiny").out
    assert laptop.ask("watch", "tiny").code == 0


@pytest.mark.slow
def test_a_running_sweep_is_joined_and_stopped_and_goes_on(laptop, cluster, token):
    """Nothing is started twice, another spec is refused, and what was stopped is the next job."""
    sent = laptop.ask("submit", "spec.yaml", *LONG, "--address", cluster.address)
    assert sent.code == 0, sent.err
    (job,) = jobs_of(laptop, cluster)
    assert f"tiny: submitted to {cluster.address} as job {job.job_id}" in sent.out
    joined = laptop.ask("submit", "spec.yaml", *LONG, "--address", cluster.address)
    assert joined.code == 0
    assert f"already running as job {job.job_id}" in joined.out
    other = laptop.ask("submit", "spec.yaml", *LONG, "--set", "seeds=[0,1]", "--address", cluster.address)
    assert other.code == 2
    assert "is running there with another spec" in other.err
    trial = wait_until(lambda: trial_begun(laptop))
    wait_until(lambda: next(trial.glob("checkpoint/step-*.safetensors"), None))
    assert json.loads(laptop.ask("watch", "tiny", "--json").out)["counts"]["running"] == 1
    assert "attempt 1 on " in laptop.ask("logs", "tiny", trial.name[:12]).out
    assert "Running entrypoint" in laptop.ask("logs", "tiny", "--address", cluster.address).out
    stop(laptop, cluster)
    cancelled = laptop.ask("cancel", "tiny", trial.name[:12])
    assert cancelled.out.endswith(": cancelled\n")
    assert json.loads(laptop.ask("status", "tiny", "--json").out)["counts"]["cancelled"] == 1
    retried = laptop.ask("retry", "tiny", trial.name[:12], "--address", cluster.address)
    assert retried.code == 0, retried.err
    assert [job.job_id[-2:] for job in jobs_of(laptop, cluster)] == ["-1", "-2"]
    wait_until((trial / "log/attempt-0002.txt").exists)
    stop(laptop, cluster)


@pytest.mark.slow
def test_a_sweep_whose_head_died_goes_on_from_its_store_on_another_cluster(laptop, cluster, token):
    """The trial is taken up from its checkpoint; that the first cluster is gone says nothing of the sweep."""
    first = RayCluster(cluster.token)
    try:
        assert laptop.ask("submit", "spec.yaml", *LONG, "--address", first.address).code == 0
        checkpoint = wait_until(lambda: next(laptop.store.glob("trials/*/checkpoint/step-*.safetensors"), None))
    finally:
        first.end()
    lost = laptop.ask("list", "--address", first.address)
    assert lost.code == 3
    assert f"{first.address} cannot be reached: Connection refused" in lost.err
    assert laptop.ask("submit", "spec.yaml", *LONG, "--address", cluster.address, "--verbose").code == 0
    log = checkpoint.parents[1] / "log/attempt-0002.txt"
    wait_until(lambda: log.exists() and "DEBUG checkpoint of step" in log.read_text())
    assert "training from step" in log.read_text()
    assert "training from step 0 " not in log.read_text()
    stop(laptop, cluster)


class LostAnswer(BaseHTTPRequestHandler):
    """Passes requests on to a cluster, and cuts the first submission off: before it is passed on, or after."""

    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        cut = self.command == "POST" and self.path == "/api/jobs/" and not self.server.cut.is_set()
        if cut:
            self.server.cut.set()
        if not cut or self.server.after:
            request = urllib.request.Request(  # noqa: S310 (http, of this machine)
                self.server.cluster + self.path, data=body or None, headers=dict(self.headers), method=self.command
            )
            try:
                answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
            except urllib.error.HTTPError as error:
                answer = error
            content = answer.read()
        if cut:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = pass_on  # noqa: N815 (as http.server calls them)

    def log_message(self, *arguments):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [True, False], ids=["answer", "request"])
def test_a_submission_that_is_cut_off_starts_one_job(laptop, cluster, token, after):
    """The cluster is asked before it is tried again."""
    with ThreadingHTTPServer(("127.0.0.1", 0), LostAnswer) as server:
        server.cluster, server.after, server.cut = cluster.address, after, threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        spec = spec_from_text(SPEC.replace("name: tiny", f"name: cut-{after}"), "spec.yaml")
        submission = submit_job(Cluster(f"http://127.0.0.1:{server.server_port}"), RemoteSweep(spec, str(laptop.store)))
        server.shutdown()
    assert server.cut.is_set()
    assert not submission.joined
    found = jobs_of(laptop, cluster, spec.name)
    assert [job.job_id for job in found] == [submission.job_id]
    Cluster(cluster.address).stop(submission.job_id)


@pytest.mark.slow
def test_doctor_asks_a_cluster_for_what_it_has(laptop, cluster, token):
    found = laptop.ask("doctor", "--address", cluster.address)
    assert f"cluster {cluster.address}: accepts jobs with the token" in found.out
    assert "mrvae-orch there: 0.1.0" in found.out


@pytest.mark.slow
def test_tokens_that_are_wrong_or_missing_are_told(laptop, cluster, tmp_path):
    """Where authentication was switched off here, that is said first."""
    arguments = ("submit", "spec.yaml", "--store", str(laptop.store), "--address", cluster.address)
    told = {}
    for variables in ({"RAY_AUTH_TOKEN": "0" * 64}, {}, {"RAY_AUTH_MODE": "disabled"}):
        laptop.variables = {"HOME": str(tmp_path), **variables}
        refused = laptop.run(*arguments)
        assert refused.code == 2
        told["".join(variables)] = refused.err
    assert f"{cluster.address} refuses this token" in told["RAY_AUTH_TOKEN"]
    assert "requires a token, and none was found" in told[""]
    assert told["RAY_AUTH_MODE"].startswith("RAY_AUTH_MODE is 'disabled': no token is sent")
    assert "requires a token" in told["RAY_AUTH_MODE"]
    assert not laptop.store.exists()


@pytest.mark.slow
def test_a_job_id_is_used_once(cluster, token, tmp_path):
    """And an id that the cluster has no job of is told from a failure."""
    jobs = Cluster(cluster.address)
    assert [jobs.start("once", "true", tmp_path, {}) for _ in range(2)] == [True, False]
    assert jobs.job("never") is None
    with pytest.raises(ClusterError, match="HTTP status 404: Job never does not exist"):
        jobs.stop("never")


@pytest.mark.slow
def test_where_nobody_listens_nothing_is_started(laptop, cluster, token):
    """Exit code 3, and no store."""
    refused = laptop.ask("submit", "spec.yaml", "--address", f"http://127.0.0.1:{free_port()}")
    assert refused.code == 3
    assert "cannot be reached: Connection refused; nothing was started" in refused.err
    assert not laptop.store.exists()


@pytest.mark.slow
def test_a_cluster_that_is_silent_is_not_waited_for(cluster, token):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterUnreachable, match=r"no answer within 0\.3 s"):
            Cluster(address, request_seconds=0.3).jobs()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--address", "http://head:8265"), "--store runs: with --address, every machine of the cluster must reach it"),
        (("--address", "head:6379", "--store", "/runs"), "not the address of a dashboard, such as http://head:8265"),
        (("--address", "http://me:hush@head:8265", "--store", "/runs"), "remove user and password"),
        (("--address", "http://head:8265", "--store", "/runs", "--data", "data"), "--data data: with --address"),
        (
            ("--address", "http://head:8265", "--store", "/runs", "--tracking-uri", "http://me:hush@mlflow:5000"),
            "--tracking-uri http://mlflow:5000: credentials are not sent",
        ),
        (("--follow",), "--follow and --code need --address"),
    ],
    ids=["store", "address", "password", "data", "tracking", "follow"],
)
def test_what_a_cluster_could_not_use_is_refused_at_once(tmp_path, arguments, message):
    """No secret is repeated."""
    laptop = CommandLine(tmp_path)
    laptop.write_spec()
    refused = laptop.run("submit", "spec.yaml", *arguments)
    assert refused.code == 2
    assert message in refused.err
    assert "hush" not in refused.err + refused.out
    assert list(Path(tmp_path).iterdir()) == [tmp_path / "spec.yaml"]
