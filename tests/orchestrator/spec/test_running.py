from __future__ import annotations

import pytest

from orchestrator.planning.plan import plan
from orchestrator.scheduling.retries import RetryPolicy
from orchestrator.spec.file import SpecError, spec_from_text, spec_yaml, stored_spec
from orchestrator.spec.model import json_schema
from orchestrator.spec.scales import Change, changes_of
from workers.trial import Resources

SPEC = """\
name: small
dataset: {name: digits}
architecture: {name: mlp, hidden: [16]}
methods:
  - {kind: beta-vae, betas: [0.1, 1]}
training: {epochs: 10, batch_size: 32}
"""


def spec(line=""):
    return spec_from_text(SPEC + line, "x.yaml")


def message(line, old="", new=""):
    with pytest.raises(SpecError) as caught:
        spec_from_text(SPEC.replace(old, new) + line, "x.yaml")
    return str(caught.value)


ALL = """\
resources: {gpus: 2, gpu_kind: H200, ranks: 4, min_ranks: 2}
priority: high
retries: {hung_after_minutes: 5, memory: 0}
budget: {device_hours: 40}
notify: {url_from: MRVAE_NOTIFY_TEAM, on: [failed]}
"""


def test_how_a_sweep_is_run_makes_no_other_trials():
    """Ranks, priority, retries, budget and notifications are no part of a trial's identity."""
    assert [each.trial_id for each in plan(spec(ALL)).trials] == [each.trial_id for each in plan(spec()).trials]


def test_every_trial_holds_the_resources_of_the_spec():
    """What is said of a rank and of how many there are reaches the planned trials."""
    held = Resources(cpus=1, gpus=2, gpu_kind="H200", ranks=4, min_ranks=2)
    assert {each.resources for each in plan(spec(ALL)).trials} == {held}


def test_how_a_sweep_is_run_survives_the_store():
    """The spec that the store keeps reads back to an equal one."""
    assert spec_from_text(spec_yaml(spec(ALL)), "stored") == spec(ALL)
    assert spec_from_text(spec_yaml(spec()), "stored") == spec()


def test_retries_are_the_policy_that_the_executor_follows():
    """What the spec leaves out is the policy's own default."""
    assert spec(ALL).retries == RetryPolicy(hung_after_minutes=5, memory=0)
    assert spec(ALL).retries.hung_after_seconds == 300


def test_a_spec_that_says_nothing_has_no_budget_and_tells_nobody():
    """Both are asked for."""
    assert (spec().budget, spec().notify, spec().priority) == (None, None, "normal")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("resources: {ranks: 0}", "x.yaml:7:20: resources.ranks: ranks is 0; it must be 1 or more"),
        (
            "resources: {gpu_kind: H200}",
            "x.yaml:7:23: resources.gpu_kind: gpu_kind is set, but gpus is 0; set gpus too",
        ),
        (
            "resources: {ranks: 2, min_ranks: 3}",
            "x.yaml:7:34: resources.min_ranks: min_ranks is 3; it must be between 0 (all of them) and ranks (2)",
        ),
        (
            "resources: {ranks: 33}",
            "x.yaml:7:20: resources.ranks: a batch has 32 examples, fewer than the 33 ranks that share it "
            "(training.batch_size)",
        ),
        (
            "resources: {ranks: 9}\ngrid: {training.batch_size: [16, 8]}",
            "x.yaml:8:34: grid.training.batch_size.1: a batch has 8 examples, fewer than the 9 ranks that share it "
            "(training.batch_size)",
        ),
        ("priority: urgent", "x.yaml:7:11: priority: 'urgent' is not a choice; choose one of low, normal, high"),
        ("retries: {hungry: 1}", "x.yaml:7:11: retries.hungry: unknown key; did you mean 'hung'?"),
        ("retries: {memory: -1}", "x.yaml:7:19: retries.memory: -1 is out of range; it must be at least 0"),
        (
            "retries: {hung_after_minutes: 0}",
            "x.yaml:7:31: retries.hung_after_minutes: 0 is out of range; it must be above 0",
        ),
        ("budget: {}", "x.yaml:7:1: budget.device_hours: this key is missing"),
        ("budget: {device_hours: 0}", "x.yaml:7:24: budget.device_hours: 0 is out of range; it must be above 0"),
        ("notify: {}", "x.yaml:7:1: notify: one of url_from, command is missing"),
        (
            "notify: {url_from: MRVAE_NOTIFY_TEAM, command: MRVAE_NOTIFY_PAGER}",
            "x.yaml:7:39: notify.command: 'url_from' is there already; keep one of the two",
        ),
        (
            "notify: {url_from: MRVAE_NOTIFY_TEAM, on: [done]}",
            "x.yaml:7:44: notify.on.0: 'done' is not a choice; choose one of finished, failed, gate-broken",
        ),
        (
            "notify: {command: [/bin/sh, -c, reboot]}",
            "x.yaml:7:19: notify.command: this is a list; it must be text",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(line, expected):
    """One line, with the place, the cause and what would do."""
    assert message(line) == expected


def test_a_method_with_batches_of_its_own_needs_an_example_for_each_rank():
    """The method's batch counts, not that of the sweep."""
    line = "resources: {ranks: 9}"
    text = message(line, "betas: [0.1, 1]}", "betas: [0.1, 1], training: {batch_size: 8}}")
    assert text.startswith("x.yaml:5:62: methods.0.training.batch_size: a batch has 8 examples, fewer than the 9 ranks")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "https://example.com/hook?token=s3cr3tToken"])
def test_an_address_in_a_spec_is_refused_without_repeating_it(url):
    """Specs are shown in reports and in MLflow, and error messages are written to logs."""
    text = message(f"notify: {{url: '{url}', on: [done]}}")
    assert text.startswith("x.yaml:7:10: notify.url: ")
    assert text.endswith("write url_from: MRVAE_NOTIFY_TEAM")
    assert url not in text
    assert len(text.splitlines()) == 1


def test_an_address_in_a_stored_spec_is_ignored():
    """Sweeps that were submitted when specs could have one can still be read, and what they store has none."""
    stored = stored_spec(f"{SPEC}notify: {{url: 'http://127.0.0.1/hook', on: [failed]}}\n".encode(), "stored")
    assert stored == spec()
    assert "127.0.0.1" not in spec_yaml(stored)


OLD_NAMES = [("evaluation", "along", "intermediate", 2), ("resources", "least_ranks", "min_ranks", 1)]


@pytest.mark.parametrize(("section", "old", "new", "value"), OLD_NAMES)
def test_former_names_of_options_mean_the_same(section, old, new, value):
    """In the file, in `--set`, and in scales, whichever name the file has."""
    plain = spec(f"{section}: {{{new}: {value}}}")
    assert spec(f"{section}: {{{old}: {value}}}") == plain
    assert f"{new}: {value}" in spec_yaml(plain)
    for written in (old, new):
        for key in (f"{section}.{old}={value}", f"{section}.{new}={value}", f"{section}={{{old}: {value}}}"):
            assert spec_from_text(f"{SPEC}{section}: {{{written}: 0}}", "x.yaml", [key]) == plain
        scaled = f"{SPEC}{section}: {{{written}: 0}}\nscale: {{more: {{{section}.{old}: {value}}}}}"
        at_scale = spec_from_text(scaled, "x.yaml", scale="more")
        assert getattr(getattr(at_scale, section), new) == value
        assert changes_of(at_scale) == (Change(f"{section}.{new}", 0, value),)


@pytest.mark.parametrize(("section", "old", "new", "value"), OLD_NAMES)
def test_both_names_of_an_option_are_refused(section, old, new, value):
    """The message names both, in the file, in `--set` and in a scale."""
    both = message(f"{section}: {{{new}: {value}, {old}: {value}}}")
    assert f"{section}.{old}: '{old}' is the former name of '{new}'" in both
    keys = [f"{section}.{old}={value}", f"{section}.{new}={value}"]
    with pytest.raises(SpecError, match=rf"--set {section}\.{new}=.*: '{section}\.{old}' is"):
        spec_from_text(SPEC, "x.yaml", keys)
    in_scale = message(f"scale: {{more: {{{section}.{old}: {value}, {section}.{new}: {value}}}}}")
    assert f"scale.more.{section}.{new}: '{section}.{old}' changes this already" in in_scale


def test_a_scale_that_was_stored_with_former_names_has_the_same_changes():
    """A whole section that a scale replaced is compared option by option, under the present names."""
    full = "{evaluation: {along: 4, split: test}, resources.least_ranks: 0}"
    stored = stored_spec(f"{SPEC}evaluation: {{along: 2}}\nscaled: {{by: more, full: {full}}}".encode(), "stored")
    changes = [(each.key, each.full, each.scaled) for each in changes_of(stored)]
    assert ("evaluation.intermediate", 4, 2) in changes
    assert not [key for key, _, _ in changes if "along" in key or "ranks" in key]


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "EDITOR", "MRVAE_NOTIFY_", "MRVAE_NOTIFY_x; reboot", "sh"])
@pytest.mark.parametrize("key", ["url_from", "command"])
def test_a_spec_names_only_variables_that_are_there_for_it(key, name):
    """Else a spec could send any secret of the environment, or run whatever some variable holds."""
    assert "begins with MRVAE_NOTIFY_" in message(f"notify: {{{key}: '{name}'}}")


def test_the_schema_describes_every_option_of_how_a_sweep_is_run():
    """Editors complete the sections and say what each option is."""
    schema = json_schema()
    assert {"resources", "priority", "retries", "budget", "notify"} <= set(schema["properties"])
    for name in ("Resources", "RetryPolicy", "Budget", "Notify"):
        options = schema["$defs"][f"{name}Section"]["properties"].values()
        assert all(option["description"] for option in options)


def test_a_grid_does_not_vary_how_a_sweep_is_run():
    """The advice says where it belongs."""
    for path in ("resources.ranks", "priority", "budget.device_hours"):
        assert "a grid cannot vary this" in message(f"grid: {{{path}: [1, 2]}}")
