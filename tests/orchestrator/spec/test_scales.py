"""Scales: a spec at another size, checked in full whenever it is read, and true about what it has changed."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.report.content.contents import Scaled
from orchestrator.cli.main import cli
from orchestrator.planning.plan import plan
from orchestrator.reports.gather import gather
from orchestrator.spec.file import SpecError, read_spec, spec_from_text, spec_yaml, with_evaluation
from orchestrator.spec.model import json_schema
from orchestrator.spec.scales import changes_of, describe_scale, shown
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import load_sweep, save_sweep
from workers.store.store import Store

FULL = """\
name: small
dataset: {name: digits}
architecture: {name: mlp, hidden: [16]}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: {from: 0.1, to: 1, count: 10}}
training:
  epochs: 200
  warmup_epochs: 5
seeds: [0, 1]
"""
SPEC = (
    FULL
    + """\
scale:
  smoke:
    training.epochs: 6
    dataset.train_limit: 512
    seeds: [0]
    methods.1.betas: [0.1, 1]
  half: {training.epochs: 100, methods.1.betas.count: 5}
"""
)


def read(text=SPEC, *overrides, scale=None):
    return spec_from_text(text, "x.yaml", overrides, scale)


def message(text, *overrides, scale=None):
    with pytest.raises(SpecError) as caught:
        read(text, *overrides, scale=scale)
    return str(caught.value)


def with_scale(content):
    return f"{FULL}scale:\n  smoke: {content}\n"


def changes(spec):
    return [(each.key, each.full, each.scaled) for each in changes_of(spec)]


def test_a_scale_is_its_values_put_into_the_spec():
    """Equal to `--set` of the same keys, but for the name and what is said of it."""
    spec = read(scale="smoke")
    by_hand = read(
        FULL,
        "training.epochs=6",
        "dataset.train_limit=512",
        "seeds=[0]",
        "methods.1.betas=[0.1, 1]",
        "name=small-smoke",
    )
    assert spec.model_copy(update={"scaled": None}) == by_hand
    assert [trial.trial_id for trial in plan(spec).trials] == [trial.trial_id for trial in plan(by_hand).trials]


def test_without_the_option_scales_change_nothing():
    """The sweep is the one that the file without scales describes, to the last byte of what is stored."""
    assert read() == read(FULL)
    assert spec_yaml(read()) == spec_yaml(read(FULL))


def test_what_is_scaled_is_kept_with_what_it_is_in_full():
    """Values and defaults, a list that a grid of β becomes, and one value within such a grid."""
    assert changes(read(scale="smoke")) == [
        ("training.epochs", 200, 6),
        ("dataset.train_limit", 0, 512),
        ("seeds", [0, 1], [0]),
        ("methods.1.betas", {"from": 0.1, "to": 1.0, "count": 10}, [0.1, 1.0]),
    ]
    assert changes(read(scale="half")) == [("training.epochs", 200, 100), ("methods.1.betas.count", 10, 5)]
    assert changes(read()) == []


def test_what_is_scaled_is_said_in_a_line():
    assert describe_scale(read(scale="smoke")) == (
        "Scaled by 'smoke': training.epochs 200 → 6, dataset.train_limit 0 → 512, seeds [0, 1] → [0], "
        "methods.1.betas {from: 0.1, to: 1, count: 10} → [0.1, 1]"
    )
    assert describe_scale(read()) == ""


def test_a_section_is_told_option_by_option():
    """Only what differs, where a scale gives a whole mapping."""
    spec = read(
        with_scale("{training: {epochs: 6, batch_size: 64}, grid: {architecture.latent_units: [2]}}"), scale="smoke"
    )
    batch_size = read(FULL).training.batch_size
    assert changes(spec) == [
        ("training.epochs", 200, 6),
        ("training.batch_size", batch_size, 64),
        ("training.warmup_epochs", 5, 0),
        ("grid", None, {"architecture.latent_units": [2]}),
    ]


def test_a_scale_may_remove_a_grid_and_reach_into_one():
    text = f"{FULL}grid: {{training.batch_size: [8, 16]}}\nscale:\n  one: {{grid: null}}\n"
    text += "  few: {grid.training.batch_size: [8]}\n"
    assert read(text, scale="one").grid is None
    assert changes(read(text, scale="one")) == [("grid", {"training.batch_size": [8, 16]}, None)]
    assert changes(read(text, scale="few")) == [("grid.training.batch_size", [8, 16], [8])]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not set"),
        (True, "true"),
        (1.0, "1"),
        (1e-07, "1e-07"),
        (1234567, "1234567"),
        ("threshold", "threshold"),
        ([0.1, 1.0], "[0.1, 1]"),
        ({"from": 0.01, "to": None, "count": 3}, "{from: 0.01, count: 3}"),
    ],
)
def test_values_are_shown_as_one_would_write_them(value, text):
    assert shown(value) == text


def test_an_override_comes_after_the_scale():
    """It has the last word, and the list says what then runs: 200 in full, 3 here."""
    spec = read(SPEC, "training.epochs=8", scale="smoke")
    assert spec.training.epochs == 8
    assert changes(spec)[0] == ("training.epochs", 200, 8)


def test_an_override_of_something_else_is_not_called_scaled():
    spec = read(SPEC, "training.batch_size=16", scale="half")
    assert spec.training.batch_size == 16
    assert [key for key, _, _ in changes(spec)] == ["training.epochs", "methods.1.betas.count"]


@pytest.mark.parametrize("override", ["training.epochs=200", "training={epochs: 200, warmup_epochs: 5}"])
def test_an_override_that_undoes_the_scale_leaves_nothing_to_tell(override):
    spec = read(with_scale("{training.epochs: 6}"), override, scale="smoke")
    assert changes(spec) == []
    assert describe_scale(spec) == "Scaled by 'smoke': no change"


def test_an_override_may_take_away_what_was_scaled():
    """One method is left of two; the second one's β are nowhere."""
    spec = read(SPEC, "methods=[{kind: beta-vae, betas: [1]}]", scale="smoke")
    assert changes(spec)[-1] == ("methods.1.betas", {"from": 0.1, "to": 1.0, "count": 10}, None)


def test_an_override_may_give_what_the_file_lacks():
    """As without a scale: the file need not be right before `--set`."""
    text = SPEC.replace("architecture: {name: mlp, hidden: [16]}\n", "")
    assert "architecture: this key is missing" in message(text, scale="smoke")
    spec = read(text, "architecture={name: mlp}", scale="smoke")
    assert changes(spec) == changes(read(scale="smoke"))


@pytest.mark.parametrize("override", ["scale.smoke.training.epochs=3", "scale={}", "scaled.by=x"])
def test_scales_are_not_for_overrides(override):
    assert message(SPEC, override) == (
        f"--set {override}: scales can be changed in the file only; set the option itself, such as training.epochs=10"
    )


@pytest.mark.parametrize(
    ("content", "place", "text"),
    [
        ("{training.epochs: two}", "12:28", "smoke.training.epochs: 'two' is text; it must be a whole number"),
        ("{training.epoch: 2}", "12:11", "smoke.training.epoch: unknown key; did you mean 'epochs'?"),
        ("{trainin.epochs: 2}", "12:11", "smoke.trainin.epochs: unknown key; did you mean 'training'?"),
        ("{seeds: [0, 0]}", "12:22", "smoke.seeds.1: 0 is listed twice"),
        ("{seeds: 0}", "12:18", "smoke.seeds: 0; it must be a list, such as [1, 2]"),
        ("{training.epochs: 0}", "12:28", "smoke.training.epochs: epochs is 0; it must be 1 or more"),
        ("{methods.1.betas: [0.1, -1]}", "12:34", "smoke.methods.1.betas.1: -1 is out of range; it must be above 0"),
        ("{methods.1.betas.cuont: 3}", "12:11", "smoke.methods.1.betas.cuont: unknown key; did you mean 'count'?"),
        (
            "{methods.2.betas: [1]}",
            "12:11",
            "smoke.methods.2.betas: 'methods' is a list of 2; its entries are methods.0, methods.1",
        ),
        ("{description.x: 1, name.x: 1}", "12:29", "smoke.name.x: a scale cannot change this; remove the line"),
        ("{name: other}", "12:11", "smoke.name: a scale cannot change this; remove the line"),
        ("{scale: {}}", "12:11", "smoke.scale: a scale cannot change this; remove the line"),
        ("{scaled.by: x}", "12:11", "smoke.scaled.by: a scale cannot change this; remove the line"),
        (
            "{training.epochs: 6, training: {epochs: 7}}",
            "12:31",
            "smoke.training: 'training.epochs' changes this already; keep one of the two",
        ),
        (
            "{training.epochs: 2}",
            "12:3",
            "smoke: training.warmup_epochs: warmup_epochs is 5; it must be 0 or more and below epochs (2)",
        ),
        (
            "{grid: {training.epochs: [6, x]}}",
            "12:39",
            "smoke.grid.training.epochs.1: 'x' is text; it must be a whole number",
        ),
        ("{}", "12:10", "smoke: this is empty; give at least 1"),
        ("", "12:9", "smoke: this has no value; it must be a mapping of keys to values"),
        ("[1]", "12:10", "smoke: this is a list; it must be a mapping of keys to values"),
    ],
)
def test_a_wrong_scale_is_said_at_its_own_line(content, place, text):
    """Though nobody asked for the scale, and by the place of the very key that is wrong."""
    assert message(with_scale(content)) == f"x.yaml:{place}: scale.{text}"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("scale: {}", "11:8: scale: this is empty; give at least 1"),
        ("scale: [smoke]", "11:8: scale: this is a list; it must be a mapping of keys to values"),
        ('scale: {"": {seeds: [0]}}', "11:9: scale.: a scale needs a name"),
        (
            'scale: {"a b": {seeds: [0]}}',
            "11:9: scale.a b: name: 'small-a b' cannot name a sweep; use 1 to 80 letters, digits, '.', '_' or '-', "
            "and neither '.' nor '..'",
        ),
    ],
)
def test_scales_of_another_form_are_refused(written, text):
    """A scale's name is part of the name of a sweep, and as strict."""
    assert message(f"{FULL}{written}\n") == f"x.yaml:{text}"


def test_every_scale_is_checked_whichever_is_asked_for():
    """And all that is wrong is said at once, the file's own mistakes first and once."""
    text = (
        SPEC.replace("epochs: 6", "epochs: six").replace("count: 5", "count: 1").replace("seeds: [0, 1]", "seeds: [-1]")
    )
    assert message(text).splitlines() == [
        "x.yaml:10:9: seeds.0: -1 is out of range; it must be at least 0",
        "x.yaml:13:22: scale.smoke.training.epochs: 'six' is text; it must be a whole number",
        "x.yaml:17:55: scale.half.methods.1.betas.count: 1 is out of range; it must be at least 2",
    ]
    assert "scale.smoke.training.epochs" in message(text, "seeds=[0]", scale="half")


def test_an_override_does_not_make_other_scales_wrong():
    """A warm-up of 20 is too long for 6 epochs, which nobody asks for here."""
    assert read(SPEC, "training.warmup_epochs=20").training.warmup_epochs == 20


def test_an_override_that_does_not_fit_the_scale_is_to_blame():
    assert message(SPEC, "training.warmup_epochs=20", scale="smoke") == (
        "--set training.warmup_epochs=20: training.warmup_epochs: warmup_epochs is 20; it must be 0 or more and below "
        "epochs (6)"
    )


def test_an_override_that_makes_the_scale_wrong_points_to_the_scale():
    """The place is that of the value that no longer fits, as with values of the file."""
    text = with_scale("{training.epochs: 9, training.warmup_epochs: 8}")
    assert message(text, "training.epochs=7", scale="smoke").startswith(
        "x.yaml:12:55: scale.smoke.training.warmup_epochs: warmup_epochs is 8;"
    )


@pytest.mark.parametrize(
    ("text", "scale", "expected"),
    [
        (SPEC, "smkoe", "no such scale; did you mean 'smoke'? There are: smoke, half"),
        (SPEC, "xyz", "no such scale; choose one of smoke, half"),
        (SPEC, "", "no such scale; choose one of smoke, half"),
        (FULL, "smoke", "this spec has no scales; add one, such as `scale: {smoke: {training.epochs: 2}}`"),
    ],
)
def test_an_unknown_scale_names_the_nearest_and_all(text, scale, expected):
    assert message(text, scale=scale) == f"--scale {scale}: {expected}"


def test_a_scaled_spec_is_not_scaled_again():
    """Neither by the option nor by a section; its list would not be that of the spec in full."""
    stored = spec_yaml(read(scale="smoke"))
    assert message(stored, scale="half") == (
        "--scale half: this spec is at a scale already (see 'scaled'); use the spec that it was made from"
    )
    both = message(f"{stored}scale: {{half: {{training.epochs: 7}}}}\n")
    assert both.endswith(": scale: this spec is at a scale already (see 'scaled'); remove one")


@settings(max_examples=30)
@given(
    epochs=st.integers(6, 10**9),
    rate=st.floats(1e-12, 1e3),
    betas=st.none() | st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4, unique=True),
    scaled=st.booleans(),
)
def test_a_scaled_spec_reads_back_equal(epochs, rate, betas, scaled):
    """Whatever is scaled; what is not set in full comes back as that."""
    text = FULL + json.dumps({"evaluation": {"betas": betas}})[1:-1].replace('"', "") + "\n"
    text += (
        f"scale: {{smoke: {{training.epochs: {epochs}, training.learning_rate: {rate!r}, evaluation.betas: [1]}}}}\n"
    )
    spec = read(text, scale="smoke" if scaled else None)
    again = read(spec_yaml(spec))
    assert again == spec
    assert changes(again) == changes(spec)


def test_the_list_stays_true_when_more_is_measured():
    """`evaluate` changes the stored spec after it was scaled."""
    spec = read(with_scale("{evaluation.betas: [1], training.epochs: 6}"), scale="smoke")
    later = with_evaluation(spec, metrics="psnr", betas=(0.1, 1.0), split=None)
    assert changes(later) == [("evaluation.betas", None, [0.1, 1.0]), ("training.epochs", 200, 6)]


def test_the_report_of_a_stored_sweep_knows_the_scale(tmp_path):
    """It is read from the stored spec, in a folder that is not that of the sweep in full."""
    store = Store(tmp_path)
    for spec in (read(), read(scale="half"), read(with_scale("{seeds: [0, 1]}"), scale="smoke")):
        save_sweep(store, plan(spec), now=0.0)
    records = {}
    for name in store.sweep_names():
        sweep = load_sweep(store, name)
        records[name] = gather(store, sweep, read_statuses(store, sweep.plan.trials), {}).scaled
    assert records == {
        "small": None,
        "small-half": Scaled("half", (("training.epochs", "200", "100"), ("methods.1.betas.count", "10", "5"))),
        # A scale that changes nothing is no other setting.
        "small-smoke": None,
    }


def test_editors_know_scales():
    """Names are free; keys are completed, and those that no scale may change are refused."""
    (scales,) = [each for each in json_schema()["properties"]["scale"]["anyOf"] if each.get("type") == "object"]
    one = scales["additionalProperties"]
    assert {"training.epochs", "dataset.train_limit", "evaluation.limit", "seeds"} <= set(one["properties"])
    assert one["propertyNames"] == {"not": {"enum": ["name", "scale", "scaled"]}}


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in a folder that has the spec."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize("command", [["plan", "spec.yaml"], ["submit", "spec.yaml", "--dry-run"]])
def test_plan_and_dry_run_say_what_is_scaled(invoke, command):
    """First, and in one line however long it is; without the option nothing is said."""
    scaled = invoke(*command, "--scale", "smoke")
    assert scaled.exit_code == 0, scaled.output
    assert scaled.output.splitlines()[0] == describe_scale(read(scale="smoke"))
    assert "3 trials: 3 pending" in scaled.output
    assert "Scaled" not in invoke(*command).output


def test_plan_as_json_has_what_is_scaled(invoke):
    shown_plan = json.loads(invoke("plan", "spec.yaml", "--json", "--scale", "half").output)
    assert shown_plan["sweep"] == "small-half"
    assert shown_plan["scaled"] == {
        "by": "half",
        "changes": [
            {"key": "training.epochs", "from": 200, "to": 100},
            {"key": "methods.1.betas.count", "from": 10, "to": 5},
        ],
    }
    assert json.loads(invoke("plan", "spec.yaml", "--json").output)["scaled"] == {"by": None, "changes": []}


@pytest.mark.parametrize("command", ["plan", "submit"])
def test_an_unknown_scale_is_a_usage_error(invoke, command, tmp_path):
    result = invoke(command, "spec.yaml", "--scale", "smkoe")
    assert result.exit_code == 2
    assert result.output == "--scale smkoe: no such scale; did you mean 'smoke'? There are: smoke, half\n"
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_file_is_read_at_a_scale(tmp_path):
    """As the commands do."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert read_spec(tmp_path / "spec.yaml", (), "smoke") == read(scale="smoke")
