"""The learning rate is chosen first, by trials like any other."""

import json

import pytest

from command_line import SPEC, CommandLine
from orchestrator.planning.plan import SELECTION, SWEEP, plan
from orchestrator.spec.file import SpecError, spec_from_text

CHOSEN = SPEC + "selection: {learning_rates: [3e-2, 1e-3, 1e10], beta: 1, split: validation}\n"
WITHOUT_PLAIN = CHOSEN.replace("  - {kind: beta-vae, betas: [0.1, 1]}\n", "")


def planned(text=CHOSEN, choose=lambda _: None):
    return plan(spec_from_text(text, "spec"), choose)


def stages(of):
    return [(trial.stage, trial.trial.method.kind, trial.trial.training.learning_rate) for trial in of.trials]


def test_nothing_of_the_sweep_runs_before_a_rate_is_chosen():
    """Each method tries each rate at the one β; what waits is known, for its cost."""
    first = planned()
    kinds = [(kind, rate) for kind in ("mr-vae", "beta-vae") for rate in (0.03, 0.001, 1e10)]
    assert stages(first) == [(SELECTION, kind, rate) for kind, rate in kinds]
    assert len(first.waiting) == 3
    assert {trial.evaluation.betas for trial in first.trials} == {(1.0,)}
    assert {trial.evaluation.split for trial in first.trials} == {"validation"}
    assert first.trials[1].series == "MR-VAE · learning_rate=0.001"


def test_the_winner_is_a_trial_of_the_sweep_and_is_not_trained_twice():
    """The MR-VAE and the β-VAE at β = 1 were trained to choose; the sweep measures them again and trains one more."""
    second = planned(choose=lambda candidates: candidates[1].learning_rate)
    assert not second.waiting
    assert stages(second) == [
        *[(SELECTION, kind, rate) for kind in ("mr-vae", "beta-vae") for rate in (0.03, 1e10)],
        (SWEEP, "mr-vae", 0.001),
        (SWEEP, "beta-vae", 0.001),
        (SWEEP, "beta-vae", 0.001),
    ]
    known = {trial.trial_id for trial in planned().trials}
    assert [trial.trial_id in known for trial in second.trials[4:]] == [True, False, True]
    assert second.trials[4].series == "MR-VAE"
    assert second.trials[4].evaluation.betas == (0.1, 0.3, 1.0)


def test_annealings_may_share_one_choice():
    """As in the paper: the rate is chosen with one annealing, and β-VAEs of all get it."""
    methods = "methods: [{kind: beta-vae, betas: [1]}, {kind: beta-vae, betas: [1], annealing: monotonic}]\n"
    text = SPEC.split("methods:")[0] + methods + SPEC[SPEC.index("training:") :]
    own = planned(text + "selection: {learning_rates: [1e-3, 1e-2]}\n")
    shared = planned(text + "selection: {learning_rates: [1e-3, 1e-2], annealing: monotonic}\n")
    assert [trial.trial.method.annealing for trial in own.trials] == ["constant"] * 2 + ["monotonic"] * 2
    assert [trial.trial.method.annealing for trial in shared.trials] == ["monotonic"] * 2
    assert len(shared.choices) == 2


def test_every_point_of_a_grid_chooses_its_own_rate():
    first = planned(CHOSEN + "grid: {architecture.latent_units: [2, 4]}\n")
    assert [choice.series for choice in first.choices] == [
        f"{method} · latent_units={units}" for units in (2, 4) for method in ("MR-VAE", "β-VAE, constant")
    ]


def test_a_method_with_its_own_rate_takes_no_part():
    own = CHOSEN.replace("betas: [0.1, 1]}", "betas: [0.1, 1], training: {learning_rate: 0.5}}")
    first = planned(own)
    assert [trial.trial.method.kind for trial in first.trials] == ["mr-vae"] * 3 + ["beta-vae"] * 2
    assert len(first.waiting) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CHOSEN.replace("[3e-2, 1e-3, 1e10]", "[1e-3]"), r"spec:12:\d+: selection.learning_rates: .*at least 2"),
        (CHOSEN.replace("1e10", "1e-3"), r"selection.learning_rates.2: 0.001 is listed twice"),
        (CHOSEN.replace("split: validation", "split: test"), r"selection.split: "),
        (CHOSEN + "grid: {training.learning_rate: [1e-3]}\n", "'selection' selects the learning rate"),
        (WITHOUT_PLAIN.replace("beta: 1,", "annealing: monotonic,"), "the sweep has no β-VAE"),
        (WITHOUT_PLAIN.replace("[0.01, 10]}", "[0.01, 10], training: {learning_rate: 1}}"), "nothing to select"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(text, message):
    with pytest.raises(SpecError, match=message):
        spec_from_text(text, "spec")


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, submit_here):
    """A sweep whose largest rate diverges."""
    command_line = CommandLine(tmp_path_factory.mktemp("selection"))
    command_line.write_spec(CHOSEN)
    return command_line, submit_here(command_line, "spec.yaml")


@pytest.mark.slow
def test_the_rate_of_least_loss_serves_the_sweep(submitted):
    """Exit code 0 although a rate failed: to find that out is what it was tried for."""
    command_line, result = submitted
    assert result.code == 0, result.out + result.err
    after = command_line.ask("plan", "spec.yaml", "--json").json
    assert after["waiting"]["trials"] == 0
    for choice in after["choices"]:
        tried = [trial for trial in after["trials"] if trial["curve"].startswith(choice["curve"])]
        assert f"{choice['curve']}: learning rate {choice['chosen']:g}, chosen from 0.03, 0.001, 1e+10" in result.out
        rates = {trial["parameters"]["training"]["learning_rate"] for trial in tried if trial["stage"] == "sweep"}
        assert rates == {choice["chosen"]}
        assert choice["chosen"] == 0.03  # the loss after 3 epochs on 256 images is far lower than at 0.001
    states = {
        (trial["stage"], trial["parameters"]["training"]["learning_rate"], trial["state"]) for trial in after["trials"]
    }
    assert states == {("selection", 1e10, "failed"), ("selection", 0.001, "done"), ("sweep", 0.03, "done")}  # fmt: skip


@pytest.mark.slow
def test_the_winner_was_trained_once(submitted):
    """Its costs have one attempt that trained, and one that only evaluated."""
    command_line, _ = submitted
    trial = next(trial for trial in command_line.plan() if trial["stage"] == "sweep" and trial["method"] == "mr-vae")
    folder = command_line.trial_folder(trial["trial_id"])
    assert len(list((folder / "points").iterdir())) == 2
    assert json.loads((folder / "manifest.json").read_text())["attempts"] == 1


@pytest.mark.slow
def test_the_report_says_what_the_choice_cost(submitted):
    command_line, _ = submitted
    report = (command_line.store / "sweeps/tiny/report/report.md").read_text()
    assert "Choice of learning rates" in report
    assert "1e+10: failed" in report
    assert "with the choice of learning rates" in report
    assert "3 trials" not in report.split("## What is missing")[1].split("##")[0]


@pytest.mark.slow
def test_the_same_submit_again_runs_nothing(submitted):
    command_line, _ = submitted
    again = command_line.ask("submit", "spec.yaml")
    assert again.code == 0
    assert "Nothing to run: 5 done, 2 failed." in again.out


@pytest.mark.slow
def test_where_every_rate_fails_the_sweep_does_not_start(tmp_path, submit_here):
    """It says which trials failed and why, and exits with 1."""
    command_line = CommandLine(tmp_path)
    command_line.write_spec(CHOSEN.replace("[3e-2, 1e-3, 1e10]", "[1e10, 1e11]"))
    result = submit_here(command_line, "spec.yaml")
    assert result.code == 1
    assert "3 trials wait for a learning rate (MR-VAE, β-VAE, constant); every rate failed" in result.out
    assert "try a lower learning rate" in result.out
    assert (
        "3 trials are waiting for the choice of a learning rate"
        in (command_line.store / "sweeps/tiny/report/report.md").read_text()
    )
