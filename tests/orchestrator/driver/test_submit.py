"""A sweep from its spec to its report, as a user runs it: real Ray, real MLflow, real files."""

import csv
import shutil
import sqlite3

import pyarrow.parquet as pq
import pytest

from command_line import SPEC, CommandLine

ONE_TRIAL = SPEC.replace("- {kind: mr-vae, beta_range: [0.01, 10]}\n", "").replace("[0.1, 1]", "[1]")


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """One sweep, submitted once; what the tests do after it changes nothing that the others look at."""
    command_line = CommandLine(tmp_path_factory.mktemp("submitted"))
    command_line.write_spec()
    return command_line, command_line.run("submit", "spec.yaml", "--verbose")


def mlflow_rows(command_line, query, *values):
    with sqlite3.connect(command_line.store / "mlflow.db") as connection:
        return connection.execute(query, values).fetchall()


def test_sweep_is_run_and_reported(submitted):
    """Exit code 0, every trial named, the table, the headline, and where the report is."""
    command_line, result = submitted
    assert result.code == 0, result.err
    assert "tiny: 3 trials (3 pending); running 3" in result.out
    assert "done 3/3" in result.out
    assert "MR-VAE" in result.out
    assert "β-VAE, constant" in result.out
    assert "one MR-VAE run" in result.out
    assert "the sweep of 2 β-VAEs: it costs" in result.out
    assert "MLflow: `mrvae-orch ui" in result.out
    report = command_line.store / "sweeps/tiny/report/report.html"
    assert f"Report: {report}" in result.out
    assert {path.name for path in report.parent.iterdir()} == {
        "report.html",
        "report.md",
        "points.csv",
        "points.parquet",
        "costs.csv",
        "trials.csv",
        "seeds.csv",
    }


def test_multi_rate_trials_run_first(submitted):
    """The single MR-VAE run is not left waiting behind the sweep."""
    command_line, _ = submitted
    starts = {}
    for row in csv.DictReader((command_line.store / "sweeps/tiny/report/costs.csv").open()):
        starts.setdefault(row["trial_id"], float(row["started_at"]))
    by_method = {trial["trial_id"]: trial["method"] for trial in command_line.plan()}
    assert by_method[min(starts, key=starts.get)] == "mr-vae"


def test_plan_and_status_say_done(submitted):
    """`plan --json` and `status --json` have what scripts rely on."""
    command_line, _ = submitted
    trials = command_line.plan()
    assert [(trial["method"], trial["betas"], trial["seed"]) for trial in trials] == [
        ("mr-vae", [0.01, 10.0], 0),
        ("beta-vae", [0.1], 0),
        ("beta-vae", [1.0], 0),
    ]
    assert all(trial["state"] == "done" and trial["device_seconds"] > 0 and trial["parameters"] for trial in trials)
    status = command_line.ask("status", "tiny", "--json").json
    assert status["counts"] == {"done": 3}
    assert [trial["trial_id"] for trial in status["trials"]] == [trial["trial_id"] for trial in trials]
    assert command_line.ask("status").out == "tiny: 3 done\n"


def test_store_holds_what_scripts_rely_on(submitted):
    """Weights as safetensors, points as Parquet, and a manifest, below the trial's id."""
    command_line, _ = submitted
    for trial in command_line.plan():
        folder = command_line.trial_folder(trial["trial_id"])
        assert [path.name for path in folder.rglob("*.safetensors")] == ["final.safetensors"]
        assert (folder / "points" / f"{trial['eval_id']}.parquet").is_file()
        assert (folder / "manifest.json").is_file()


def test_verbose_logs_have_every_epoch(submitted):
    """Epochs of less than ten seconds, of which a log has only the first otherwise."""
    command_line, _ = submitted
    for trial in command_line.plan():
        log = command_line.ask("logs", "tiny", trial["trial_id"]).out
        assert [log.count(f" epoch {epoch}/3: ELBO ") for epoch in (1, 2, 3)] == [1, 1, 1]


def test_points_of_the_report_are_the_sweeps_own(submitted):
    """The CSV has every operating point once, three for the MR-VAE and one a β-VAE."""
    command_line, _ = submitted
    rows = list(csv.DictReader((command_line.store / "sweeps/tiny/report/points.csv").open()))
    assert sorted(row["method"] for row in rows) == ["beta-vae"] * 2 + ["mr-vae"] * 3
    assert {row["sweep"] for row in rows} == {"tiny"}


def test_every_run_is_in_mlflow_once(submitted):
    """One parent for the sweep with its spec and report, one child a trial, every epoch's metrics once."""
    command_line, _ = submitted
    ids = [trial["trial_id"] for trial in command_line.plan()]
    tagged = mlflow_rows(command_line, "SELECT value FROM tags WHERE key = 'trial_id'")
    assert sorted(value for (value,) in tagged) == sorted(ids)
    parents = mlflow_rows(command_line, "SELECT DISTINCT value FROM tags WHERE key = 'mlflow.parentRunId'")
    assert len(parents) == 1
    steps = mlflow_rows(command_line, "SELECT run_uuid, step FROM metrics WHERE key = 'train/elbo'")
    assert len(steps) == len(set(steps)) == 3 * 3
    tests = mlflow_rows(command_line, "SELECT step, value FROM metrics WHERE key = 'test/beta' ORDER BY step")
    assert [(step, pytest.approx(value)) for step, value in tests] == [
        (-1000, 0.1), (-1000, 0.1), (-523, 0.3), (0, 1.0), (0, 1.0)
    ]  # fmt: skip
    artifacts = {path.name for path in (command_line.store / "mlartifacts").rglob("*") if path.is_file()}
    assert {"spec.yaml", "report.html", "points.parquet"} <= artifacts
    statuses = mlflow_rows(command_line, "SELECT DISTINCT status FROM runs")
    assert statuses == [("FINISHED",)]


def test_the_same_submit_again_runs_nothing(submitted):
    """It says so, exits 0, sends MLflow nothing again, starts no process for that, and touches no trial."""
    command_line, _ = submitted
    trials = command_line.store / "trials"
    before = {path: path.stat().st_mtime_ns for path in trials.rglob("*") if path.is_file()}
    metrics = mlflow_rows(command_line, "SELECT COUNT(*) FROM metrics")
    log = command_line.store / "sweeps/tiny/tracking.log"
    log.unlink()
    again = command_line.ask("submit", "spec.yaml")
    assert again.code == 0
    assert "Nothing to run: 3 done." in again.out
    assert {path: path.stat().st_mtime_ns for path in trials.rglob("*") if path.is_file()} == before
    assert mlflow_rows(command_line, "SELECT COUNT(*) FROM metrics") == metrics
    assert "MLflow: `mrvae-orch ui" in again.out
    assert not log.exists()


def test_sync_has_nothing_left_to_send(submitted):
    """What a submit has forwarded is not forwarded again."""
    command_line, _ = submitted
    synced = command_line.ask("sync")
    assert synced.code == 0
    assert synced.out.startswith("tiny: 0 metrics and 0 runs uploaded to sqlite:")


def test_report_can_be_written_elsewhere(submitted):
    """`report --out` writes the same report into another folder."""
    command_line, _ = submitted
    assert command_line.ask("report", "tiny", "--out", "elsewhere").code == 0
    first = (command_line.store / "sweeps/tiny/report/points.csv").read_bytes()
    assert (command_line.folder / "elsewhere/points.csv").read_bytes() == first


@pytest.mark.slow
def test_what_two_specs_share_is_trained_once(command_line, submit_here):
    """More β, seeds and metrics run only what is new; another spec's equal trial is found done; all in MLflow once."""
    command_line.write_spec(ONE_TRIAL)
    assert submit_here(command_line, "spec.yaml").code == 0
    (first,) = command_line.plan()
    weights = command_line.trial_folder(first["trial_id"]) / "checkpoint/final.safetensors"
    written = weights.stat().st_mtime_ns
    # Two at a time here, and one after the other elsewhere.
    other = SPEC.replace("name: tiny", "name: other").replace("cpus: 2", "cpus: 1")
    command_line.write_spec(other.replace("- {kind: mr-vae, beta_range: [0.01, 10]}\n", ""), "other.yaml")
    states = {tuple(trial["betas"]): trial["state"] for trial in command_line.plan("other.yaml")}
    assert states == {(0.1,): "pending", (1.0,): "done"}
    result = submit_here(command_line, "other.yaml", "--set", "evaluation.metrics=[active_units, psnr]")
    assert result.code == 0
    # The shared trial has weights already, so only its new metric is measured.
    assert "2 trials (1 trained, 1 pending); running 2" in result.out
    assert weights.stat().st_mtime_ns == written
    rows = list(csv.DictReader((command_line.store / "sweeps/other/report/points.csv").open()))
    assert all(float(row["psnr_db"]) > 0 for row in rows)
    tagged = mlflow_rows(command_line, "SELECT value FROM tags WHERE key = 'trial_id' AND value = ?", first["trial_id"])
    assert len(tagged) == 1
    # `evaluate` measures what is trained and trains nothing.
    evaluated = command_line.ask("evaluate", "tiny", "--metrics", "bits_per_dimension")
    assert evaluated.code == 0
    assert "running 1" in evaluated.out
    assert weights.stat().st_mtime_ns == written
    (row,) = csv.DictReader((command_line.store / "sweeps/tiny/report/points.csv").open())
    assert float(row["bits_per_dimension"]) > 0


@pytest.mark.slow
def test_failed_trial_is_named_and_not_tried_again(command_line, submit_here):
    """A diverging trial fails by itself: exit code 1, the reason in status, no retry until asked for."""
    command_line.write_spec(ONE_TRIAL.replace("1e-3", "1e30"))
    result = submit_here(command_line, "spec.yaml")
    assert result.code == 1
    assert "the loss is" in result.out
    assert "--retry-failed" in result.out
    (trial,) = command_line.ask("status", "tiny", "--json").json["trials"]
    assert trial["state"] == "failed"
    assert "at step 1, β = 1;" in trial["message"]
    again = submit_here(command_line, "spec.yaml")
    assert again.code == 1
    assert "Nothing to run: 1 failed." in again.out
    retried = submit_here(command_line, "spec.yaml", "--retry-failed")
    assert retried.code == 1
    assert command_line.ask("status", "tiny", "--json").json["trials"][0]["attempts"] == 2


@pytest.mark.slow
def test_unreachable_tracking_server_delays_nothing_and_loses_nothing(command_line, submit_here):
    """Training ends as ever, the message names the next step, and `sync` sends every metric once later."""
    command_line.write_spec(ONE_TRIAL)
    result = submit_here(command_line, "spec.yaml", "--tracking-uri", "http://user:pass-phrase@127.0.0.1:9")
    assert result.code == 0
    assert "MLflow is behind" in result.out
    assert "mrvae-orch sync tiny" in result.out
    texts = [path.read_bytes() for path in command_line.store.rglob("*") if path.is_file()]
    assert not any(b"pass-phrase" in text for text in [*texts, result.out.encode(), result.err.encode()])
    refused = command_line.ask("sync")
    assert refused.code == 2
    assert "give them with --tracking-uri" in refused.err
    database = f"sqlite:///{command_line.store / 'mlflow.db'}"
    synced = [command_line.ask("sync", "tiny", "--tracking-uri", database) for _ in range(2)]
    assert [run.code for run in synced] == [0, 0]
    assert "1 runs uploaded" in synced[0].out.replace("2 runs", "1 runs")
    assert "0 metrics and 0 runs" in synced[1].out
    steps = mlflow_rows(command_line, "SELECT step FROM metrics WHERE key = 'train/loss' ORDER BY step")
    assert steps == [(1,), (2,), (3,)]


def test_missing_dataset_is_one_line_before_anything_runs(command_line):
    """Exit code 2, what and where and how, no trace, and no trial's folder is made."""
    text = SPEC.replace("{name: digits, train_limit: 256}", "{name: mnist}").replace("hidden: [32]", "hidden: [8]")
    command_line.write_spec(text)
    result = command_line.ask("submit", "spec.yaml", "--data", "nowhere")
    assert result.code == 2
    assert "mrvae-orch data fetch mnist" in result.err
    assert "Traceback" not in result.err
    assert not (command_line.store / "trials").exists()


def test_further_betas_are_added(submitted, tmp_path):
    """Those of the spec and of the sweep, by which the report compares, are still there."""
    command_line = CommandLine(shutil.copytree(submitted[0].folder, tmp_path / "copy"))
    before = measured_betas(command_line)
    evaluated = command_line.ask("evaluate", "tiny", "--betas", "0.05,0.5,5")
    assert evaluated.code == 0, evaluated.err
    assert {0.1, 1.0} <= before
    assert measured_betas(command_line) == before | {0.05, 0.5, 5.0}


def measured_betas(command_line):
    rows = pq.read_table(command_line.store / "sweeps/tiny/report/points.parquet").to_pylist()
    return {row["betas"][0] for row in rows if row["series"] == "MR-VAE"}


@pytest.mark.parametrize("betas", ["abc", "", "0.1,,1", "-1", "0", "nan", "inf"])
def test_a_beta_that_is_none_is_refused(submitted, betas):
    command_line, _ = submitted
    refused = command_line.ask("evaluate", "tiny", "--betas", betas)
    assert refused.code == 2
    assert "is not a number above 0; write β values such as 0.05,0.5,5" in refused.err
