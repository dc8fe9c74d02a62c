from __future__ import annotations

import pytest

from orchestrator.plan import plan
from orchestrator.spec import json_schema
from orchestrator.spec_file import SpecError, spec_from_text, spec_yaml
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
resources: {gpus: 2, gpu_kind: H200, ranks: 4, least_ranks: 2}
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
    held = Resources(cpus=1, gpus=2, gpu_kind="H200", ranks=4, least_ranks=2)
    assert {each.resources for each in plan(spec(ALL)).trials} == {held}


def test_how_a_sweep_is_run_survives_the_store():
    """The spec that the store keeps reads back to an equal one."""
    assert spec_from_text(spec_yaml(spec(ALL)), "stored") == spec(ALL)
    assert spec_from_text(spec_yaml(spec()), "stored") == spec()


def test_retries_are_given_in_seconds():
    """The executor's policy has seconds where the spec has minutes."""
    assert spec(ALL).retries.values() == {
        "interruptions": 50,
        "without_progress": 3,
        "store": 5,
        "memory": 0,
        "hung": 2,
        "hung_after_seconds": 300.0,
        "back_off_seconds": 1.0,
    }


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
            "resources: {ranks: 2, least_ranks: 3}",
            "x.yaml:7:36: resources.least_ranks: least_ranks is 3; it must be between 0 (all of them) and ranks (2)",
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
        ("retries: {memory: -1}", "x.yaml:7:19: retries.memory: -1 is out of range; it must not be below 0"),
        (
            "retries: {hung_after_minutes: 0}",
            "x.yaml:7:31: retries.hung_after_minutes: 0 is out of range; it must be above 0",
        ),
        ("budget: {}", "x.yaml:7:1: budget.device_hours: this key is missing"),
        ("budget: {device_hours: 0}", "x.yaml:7:24: budget.device_hours: 0 is out of range; it must be above 0"),
        ("notify: {}", "x.yaml:7:1: notify: one of url, url_from, command is missing"),
        (
            "notify: {url: 'http://here', command: MRVAE_NOTIFY_PAGER}",
            "x.yaml:7:30: notify.command: 'url' is there already; keep one of the two",
        ),
        (
            "notify: {url: 'ftp://here/x'}",
            "x.yaml:7:15: notify.url: this is no web address; it must begin with http:// or https:// and a host",
        ),
        (
            "notify: {url: 'http://here', on: [done]}",
            "x.yaml:7:35: notify.on.0: 'done' is not a choice; choose one of finished, failed, gate-broken",
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


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T01ABCDEF/B01ABCDEF/s3cr3tTokenOfTwentyFour",
        "https://discord.example.com/api/webhooks/112233445566778899/abc",
        "https://key:s3cr3tToken@example.com/hook",
        "https://example.com/hook?token=s3cr3tToken",
        "https://example.com/hook#s3cr3tToken",
        "https://example.com/hooks/7f8c1c2e-8a55-4a4c-9d2e-s3cr3tToken",
    ],
)
def test_a_webhook_address_with_a_secret_is_refused_without_repeating_it(url):
    """Specs are shown in reports and in MLflow, and error messages land in logs."""
    text = message(f"notify: {{url: '{url}'}}")
    assert "write `url_from: MRVAE_NOTIFY_TEAM`" in text
    assert "s3cr3t" not in text
    assert "example.com" not in text


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "https://example.com/hooks/sweeps-that-ended/v2"])
def test_a_plain_webhook_address_may_stand_in_the_spec(url):
    """An address that anybody may see needs no variable."""
    assert spec(f"notify: {{url: '{url}'}}").notify.url == url


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "EDITOR", "MRVAE_NOTIFY_", "MRVAE_NOTIFY_x; reboot", "sh"])
@pytest.mark.parametrize("key", ["url_from", "command"])
def test_a_spec_names_only_variables_that_are_there_for_it(key, name):
    """Else a spec could send any secret of the environment, or run whatever some variable holds."""
    assert "begins with MRVAE_NOTIFY_" in message(f"notify: {{{key}: '{name}'}}")


def test_the_schema_describes_every_option_of_how_a_sweep_is_run():
    """Editors complete the sections and say what each option is."""
    schema = json_schema()
    assert {"resources", "priority", "retries", "budget", "notify"} <= set(schema["properties"])
    for name in ("Resources", "Retries", "Budget", "Notify"):
        options = schema["$defs"][f"{name}Section"]["properties"].values()
        assert all(option["description"] for option in options)


def test_a_grid_does_not_vary_how_a_sweep_is_run():
    """The advice says where it belongs."""
    for path in ("resources.ranks", "priority", "budget.device_hours"):
        assert "a grid cannot vary this" in message(f"grid: {{{path}: [1, 2]}}")
