"""A metric that fails in a sweep, as a user meets it: real Ray, real MLflow, real files."""

import csv
import sqlite3

import numpy as np
import pytest

ONE_CLASS = """\
name: fm
dataset: {name: image-npz, train_file: one-class.npz, test_file: one-class.npz, train_key: a, test_key: b,
  train_label_key: la, test_label_key: lb, layout: NHW, shape: [1, 28, 28], train_examples: 65, test_examples: 65,
  classes: 2}
architecture: {name: mlp, hidden: [8], latent_units: 2}
methods: [{kind: beta-vae, betas: [1]}]
training: {epochs: 1, batch_size: 64, learning_rate: 1e-3, warmup_epochs: 0}
evaluation: {metrics: [active_units, linear_probe]}
"""
"""The linear probe has nothing to tell apart: the images are all of one class."""


@pytest.mark.slow
def test_a_metric_that_fails_costs_its_own_column_and_ends_with_1_until_it_is_not_asked_for(command_line, submit_here):
    """The rest is trained, reported and in MLflow; nothing is repeated unless asked, and nothing is trained again."""
    pixels = np.random.default_rng(0).integers(0, 256, (65, 28, 28), dtype=np.uint8)
    labels = np.zeros(65, int)
    (command_line.folder / "data").mkdir()
    np.savez(command_line.folder / "data/one-class.npz", a=pixels, b=pixels, la=labels, lb=labels)
    command_line.write_spec(ONE_CLASS)
    submit = ("submit", "spec.yaml", "--data", "data")
    cause = "linear_probe failed: ValueError: the training label has one value, 0, in all 43 examples"

    def attempts():
        (trial,) = command_line.ask("status", "fm", "--json").json["trials"]
        return (
            [(each["number"], each["outcome"]) for each in trial["costs"]],
            trial["state"],
            trial["message"].partition(";")[0],
        )

    first = submit_here(command_line, *submit[1:])
    assert first.code == 1
    assert cause in first.out
    assert "1 finished trial lacks results that failed: linear_probe. All other results are kept." in first.out
    assert attempts() == ([(1, "done")], "done", cause)
    (row,) = csv.DictReader((command_line.store / "sweeps/fm/report/points.csv").open())
    assert (row["probe_accuracy"], row["active_units"] != "") == ("", True)
    assert cause in (command_line.store / "sweeps/fm/report/report.html").read_text()
    with sqlite3.connect(command_line.store / "mlflow.db") as connection:
        keys = {key for (key,) in connection.execute("SELECT key FROM metrics")}
        assert connection.execute("SELECT status FROM runs WHERE name LIKE 'β-VAE%'").fetchall() == [("FINISHED",)]
    assert {"train/loss", "test/distortion", "test/active_units"} <= keys

    again = submit_here(command_line, *submit[1:])
    assert again.code == 1
    assert "Nothing to run: 1 done." in again.out
    assert "lacks results that failed: linear_probe" in again.out
    for number, command in ((2, (*submit, "--retry-failed")), (3, ("retry", "fm", "--failed", "--data", "data"))):
        retried = command_line.ask(*command)
        assert retried.code == 1
        assert "running 1" in retried.out
        assert attempts()[0] == [(each, "done") for each in range(1, number + 1)]

    without = submit_here(command_line, *submit[1:], "--set", "evaluation.metrics=[active_units]")
    assert without.code == 0
    assert "failed" not in without.out
    assert attempts() == ([(each, "done") for each in range(1, 5)], "done", "")
    trained = [
        row
        for row in csv.DictReader((command_line.store / "sweeps/fm/report/costs.csv").open())
        if row["phase"] == "train"
    ]
    assert {row["attempt"] for row in trained} == {"1"}
