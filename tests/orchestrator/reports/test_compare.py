"""`compare` and `report --format` on sweeps that were really trained."""

import csv

import pytest
import torch

from orchestrator.planning.plan import plan
from orchestrator.reports.compare import LONGEST_FOLDER, comparison_folder
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from workers.store.store import Store

SWEEP = """\
name: linear
dataset: {name: digits, train_limit: 128}
architecture: {name: linear, latent_units: 8}
objective: {likelihood: squared-error}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.03, 1]}
training: {epochs: 1, batch_size: 16, learning_rate: 2e-2}
seeds: [0, 1]
evaluation: {betas: [0.03, 0.2, 1], pictures: 0}
"""
OTHER = (
    SWEEP.replace("name: linear\ndataset", "name: nonlinear\ndataset")
    .replace("{name: linear, latent_units: 8}", "{name: mlp, hidden: [16], latent_units: 4}")
    .replace("squared-error", "bernoulli")
)
PENDING = SWEEP.replace("name: linear\ndataset", "name: later\ndataset").replace("seeds: [0, 1]", "seeds: [5]")


@pytest.fixture(scope="module")
def store(tmp_path_factory, train):
    """A linear and a nonlinear sweep that are done, one in nats and one in squared errors, and one to come."""
    torch.set_num_threads(1)
    store = Store(tmp_path_factory.mktemp("trained") / "runs")
    train(store, SWEEP)
    train(store, OTHER)
    save_sweep(store, plan(spec_from_text(PENDING, "spec.yaml")), now=0.0)
    return store


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sweeps_are_compared(invoke, store):
    """A row each in its own unit, a row over both without any, the headline, and where the files are."""
    result = invoke("compare", "linear", "nonlinear")
    assert result.exit_code == 0, result.output
    folder = store.root / "comparisons" / "linear+nonlinear"
    assert {path.name for path in folder.iterdir()} == {"comparison.html", "comparison.md", "comparison.csv"}
    assert f"Comparison: {folder / 'comparison.html'}" in result.output
    assert "Over 2 sweeps (2 + 2 seeds), it costs" in result.output
    rows = rows_of(folder / "comparison.csv")
    assert [(row["kind"], row["sweep"], row["distortion_unit"], row["seeds"]) for row in rows] == [
        ("sweep", "linear", "sse", "2"),
        ("sweep", "nonlinear", "nats", "2"),
        ("overall", "", "", ""),
    ]
    assert rows[0]["architecture"].startswith("linear")
    for row in rows:
        assert float(row["times_cheaper_low"]) <= float(row["times_cheaper"]) <= float(row["times_cheaper_high"])
    one, other, overall = (float(row["times_cheaper"]) for row in rows)
    assert overall == pytest.approx((one * other) ** 0.5)
    assert rows[2]["distortion_difference"] == ""


def test_a_sweep_that_is_not_done_is_listed(invoke, tmp_path):
    result = invoke("compare", "linear", "nonlinear", "later", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "note: later: No trial has finished yet: 3 pending." in result.output
    assert "of 3 sweeps (" in result.output
    assert "1 not compared)" in result.output
    assert [row["kind"] for row in rows_of(tmp_path / "comparison.csv")] == ["sweep", "sweep", "left out", "overall"]


def test_figures_and_tables_for_a_paper(invoke, tmp_path):
    result = invoke("compare", "linear", "nonlinear", "--out", tmp_path, "--format", "pdf,latex", "--format", "svg")
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "rate-distortion.pdf",
        "rate-distortion.svg",
        "comparison.tex",
    }
    assert f"Comparison as pdf: {tmp_path / 'rate-distortion.pdf'}" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["linear"], "linear alone is no comparison; name another sweep too"),
        (["linear", "nonlinear", "linear"], "sweep 'linear' is named twice; name each once"),
        (["linear", "nonlinaer"], "did you mean 'nonlinear'?"),
        (["linear", "../evil"], "is not a sweep's name"),
        ([], "Missing argument"),
        (
            ["linear", "nonlinear", "--format", "docx"],
            "no format 'docx'; choose one of html, markdown, csv, pdf, svg, latex\n",
        ),
        (["linear", "nonlinear", "--format", "parquet"], "no format 'parquet'"),
    ],
)
def test_what_cannot_be_compared_is_refused(invoke, store, arguments, message):
    """One message, exit code 2, and nothing written."""
    before = sorted(store.root.rglob("*"))
    result = invoke("compare", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert sorted(store.root.rglob("*")) == before


def test_a_report_is_written_in_the_formats_that_are_asked_for(invoke, tmp_path):
    result = invoke("report", "linear", "--out", tmp_path, "--format", "svg, latex", "--format", "markdown")
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "tables", "report.md"}
    assert (tmp_path / "figures" / "rate-distortion.svg").is_file()
    assert f"files in {tmp_path / 'figures'}" in result.output
    assert f"Report as markdown: {tmp_path / 'report.md'}" in result.output


def test_a_report_has_its_usual_formats_where_none_is_asked_for(invoke, tmp_path):
    result = invoke("report", "linear", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert {path.suffix for path in tmp_path.iterdir()} == {".html", ".md", ".csv", ".parquet"}
    assert result.output.splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"


def test_a_report_says_where_there_is_nothing_to_draw(invoke, tmp_path):
    result = invoke("report", "later", "--out", tmp_path, "--format", "html,pdf")
    assert result.exit_code == 0, result.output
    assert "Report as pdf: nothing to write, since no trial has finished" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_an_unknown_format_names_the_nearest_and_all(invoke, tmp_path):
    result = invoke("report", "linear", "--out", tmp_path / "new", "--format", "latx")
    assert result.exit_code == 2
    assert (
        "no format 'latx'; did you mean 'latex'? There are html, markdown, csv, parquet, pdf, svg, latex."
        in " ".join(result.output.split())
    )
    assert not (tmp_path / "new").exists()


def test_a_place_that_is_a_file_is_named(invoke, tmp_path):
    (tmp_path / "taken").write_text("")
    for arguments in (["report", "linear"], ["compare", "linear", "nonlinear"]):
        result = invoke(*arguments, "--out", tmp_path / "taken" / "below")
        assert result.exit_code == 2
        assert f"{tmp_path / 'taken' / 'below'} cannot be written: Not a directory" in result.output


def test_a_comparison_of_many_has_a_folder_of_its_own(store):
    """Names that are cut alike are told apart, and the same names are found again."""
    names = [f"sweep-{index}-of-many" for index in range(20)]
    one, other = comparison_folder(store, [*names, "a"]), comparison_folder(store, [*names, "b"])
    assert one.path() != other.path()
    assert one.path() == comparison_folder(store, [*names, "a"]).path()
    assert len(one.path().name) <= LONGEST_FOLDER + 9
