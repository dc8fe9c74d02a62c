from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.spec.checks import validated
from orchestrator.spec.file import SpecError, read_spec, spec_from_text, spec_yaml

SPEC = """\
name: small
dataset: {name: digits}
architecture: {name: mlp, hidden: [16]}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.1, 1]}
training:
  epochs: 10
  learning_rate: 1e-3
seeds: [0, 1]
"""


def message(text, *overrides):
    with pytest.raises(SpecError) as caught:
        spec_from_text(text, "x.yaml", overrides)
    return str(caught.value)


def changed(old, new):
    assert old in SPEC
    return message(SPEC.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "place", "text"),
    [
        (
            "epochs: 10\n",
            "epochs: 10\n  learning_rat: 1\n",
            "9:3",
            "training.learning_rat: unknown key; did you mean 'learning_rate'?",
        ),
        ("seeds:", "seed:", "10:1", "seed: unknown key; did you mean 'seeds'?"),
        (
            "name: digits",
            "name: digitz",
            "2:17",
            "dataset.name: unknown name 'digitz'; did you mean 'digits'?",
        ),
        ("name: mlp", "name: mpl", "3:22", "architecture.name: unknown name 'mpl'; did you mean 'mlp'?"),
        (
            "kind: mr-vae",
            "kind: mrvae",
            "5:12",
            "methods.0.kind: unknown kind 'mrvae'; did you mean 'mr-vae'?",
        ),
        ("epochs: 10", "epochs: ten", "8:11", "training.epochs: 'ten' is text; it must be a whole number"),
        (
            "epochs: 10",
            "epochs: 1e3",
            "8:11",
            "training.epochs: 1000.0 has a decimal point or an exponent; write 1000",
        ),
        ("epochs: 10", "epochs: 0", "8:11", "training.epochs: epochs is 0; it must be 1 or more"),
        (
            "epochs: 10",
            "epochs: 10\n  schedule: cosin",
            "9:13",
            "training.schedule: 'cosin' is not a choice; did you mean 'cosine'?",
        ),
        (
            "epochs: 10",
            "epochs: 10\n  channels_last: yes",
            "9:18",
            "training.channels_last: 'yes' is text in YAML 1.2; write true or false",
        ),
        ("  epochs: 10\n", "", "7:1", "training.epochs: this key is missing"),
        (
            "betas: [0.1, 1]",
            "betas: [0.1, -1]",
            "6:35",
            "methods.1.betas.1: -1 is out of range; it must be above 0",
        ),
        ("betas: [0.1, 1]", "betas: [1, 1.0]", "6:33", "methods.1.betas.1: 1.0 is listed twice"),
        ("betas: [0.1, 1]", "betas: []", "6:29", "methods.1.betas: this is empty; give at least 1"),
        (
            "[0.01, 10]",
            "[10, 0.01]",
            "5:32",
            "methods.0.beta_range: the β range is 10 to 0.01; the first value must be the smaller one",
        ),
        ("[0.01, 10]", "[10]", "5:32", "methods.0.beta_range: 1 given; give at least 2"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "10:12", "seeds.1: 0 is listed twice"),
        ("seeds: [0, 1]", "seeds: [-1]", "10:9", "seeds.0: -1 is out of range; it must be at least 0"),
        ("seeds: [0, 1]", "seeds:", "10:7", "seeds: this has no value; it must be a list, such as [1, 2]"),
        (
            "learning_rate: 1e-3",
            "learning_rate: .inf",
            "9:18",
            "training.learning_rate: inf; it must be a finite number",
        ),
        (
            "seeds: [0, 1]",
            "grid: {training.lerning_rate: [1]}",
            "10:8",
            "grid.training.lerning_rate: unknown path; did you mean 'training.learning_rate'?",
        ),
        (
            "seeds: [0, 1]",
            "grid: {training.latent_units: [1]}",
            "10:8",
            "grid.training.latent_units: unknown path; did you mean 'architecture.latent_units'?",
        ),
        (
            "seeds: [0, 1]",
            "grid: {training.epochs: [5, many]}",
            "10:29",
            "grid.training.epochs.1: 'many' is text; it must be a whole number",
        ),
        (
            "seeds: [0, 1]",
            "grid: {training.epochs: [5, 5]}",
            "10:29",
            "grid.training.epochs.1: 5 is listed twice",
        ),
    ],
)
def test_a_problem_is_said_in_one_line_with_its_place_and_the_nearest_choice(old, new, place, text):
    """Line and column are those of the key that is wrong, or of the value."""
    assert changed(old, new) == f"x.yaml:{place}: {text}"


@pytest.mark.parametrize("path", ["seeds", "methods", "methods.0.betas", "architecture.name"])
def test_a_grid_over_what_a_sweep_has_already_is_refused_with_advice(path):
    """Who varies seeds or methods in a grid learns where they belong."""
    text = changed("seeds: [0, 1]", f"grid: {{{path}: [1]}}")
    assert text.startswith(f"x.yaml:10:8: grid.{path}: a grid cannot vary this: ")


@pytest.mark.parametrize("name", ["a/b", ".", "..", "", "a b", "β", "x" * 81, "a\\n"])
def test_a_name_that_no_folder_should_have_is_refused(name):
    """Slashes, dots alone, spaces, and more than 80 characters."""
    assert "x.yaml:1:7: name: " in changed("name: small", f'name: "{name}"')


def test_all_problems_are_said_at_once():
    """One line each, in one message."""
    text = SPEC.replace("epochs: 10", "epochs: ten").replace("name: digits", "name: digitz")
    assert [line.split(": ")[0] for line in message(text).splitlines()] == ["x.yaml:2:17", "x.yaml:8:11"]


def test_a_flood_of_problems_is_cut():
    """Ten thousand wrong seeds do not make ten thousand lines."""
    lines = changed("seeds: [0, 1]", f"seeds: {[-1] * 500}").splitlines()
    assert lines[-1] == "and 480 more problems"


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("", "1:1", "the spec is empty; it must have keys such as name, dataset and methods"),
        (
            "# only a comment\n",
            "1:1",
            "the spec is empty; it must have keys such as name, dataset and methods",
        ),
        ("- a\n- b\n", "1:1", "the spec is not a mapping; it must have keys such as name, dataset and methods"),
        ("name: a\nseeds: [1]\nname: b\n", "3:1", "duplicate key 'name', first in line 1; keep one"),
        ("a:\n\tb: 1\n", "2:1", "a tab cannot indent YAML; use spaces"),
        ("a: b: c\n", "1:5", "not valid YAML: mapping values are not allowed here"),
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]\n",
            "2:4",
            "the tag !!python/object/apply:os.system is not allowed; write plain values only",
        ),
        ("a: !!timestamp 2001-01-01\n", "1:4", "the tag !!timestamp is not allowed; write plain values only"),
        ("? [1]\n: 2\n", "1:3", "a key must be plain text"),
        ("a: " + "[" * 5000, "1:23", "nested more than 20 deep"),
        ("a: &a [*a]\n", "1:4", "too many values after expanding anchors and aliases; write the values out"),
        ("a: *nope\n", "1:4", "not valid YAML: found undefined alias 'nope'"),
        (
            "a: 1\n---\nb: 1\n",
            "2:1",
            "not valid YAML: expected a single document in the stream, but found another document",
        ),
        ("a: \x01\n", "1:4", "the character U+0001 is not allowed in YAML"),
        ("a: " + "9" * 5000, "1:4", f"'{'9' * 40}…' cannot be read as int"),
    ],
)
def test_what_is_no_spec_at_all_gives_one_clear_line(text, place, expected):
    """Broken, unsafe or absurd YAML is refused before anything is made of it."""
    assert message(text) == f"x.yaml:{place}: {expected}"


def test_an_alias_bomb_is_refused():
    """Aliases of aliases may not unfold to a billion values."""
    names = "abcdefghij"
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in pairwise(names)
    )
    assert "too many values after expanding anchors and aliases" in message(bomb)


def test_an_alias_used_once_is_plain_yaml():
    """Anchors are for writing less, and may be used so."""
    text = SPEC.replace("seeds: [0, 1]", "seeds: &both [0, 1]\ngrid: {architecture.latent_units: *both}")
    assert "latent_units is 0" in message(text)


@pytest.mark.parametrize(
    ("written", "value"), [("1e-3", 0.001), ("1E-3", 0.001), (".5", 0.5), ("1", 1.0), ("+1.", 1.0)]
)
def test_numbers_are_those_of_yaml_1_2(written, value):
    """`1e-3` is a number, whatever YAML 1.1 says."""
    spec = spec_from_text(SPEC.replace("1e-3", written), "x.yaml")
    assert spec.training.learning_rate == value


@pytest.mark.parametrize("written", ["yes", "off", "2001-01-01", "12:30:00", "0b1", "1_000"])
def test_what_yaml_1_1_would_convert_stays_text(written):
    """Neither dates, nor sexagesimals, nor more words for true and false."""
    assert spec_from_text(f"{SPEC}description: {written}\n", "x.yaml").description == written


def test_a_file_that_is_not_there_names_its_neighbour(tmp_path):
    """A misspelt file name is a mistake like any other."""
    (tmp_path / "quickstart.yaml").write_text(SPEC)
    with pytest.raises(SpecError, match=r"no such file; did you mean .*/quickstart\.yaml\?$"):
        read_spec(tmp_path / "quikstart.yaml")


def test_a_folder_is_no_spec(tmp_path):
    """One line, with the reason."""
    with pytest.raises(SpecError, match=r"cannot be read: Is a directory$"):
        read_spec(tmp_path)


def test_a_file_that_is_not_utf_8_says_so(tmp_path):
    """With the byte that is none."""
    file = tmp_path / "latin.yaml"
    file.write_bytes(SPEC.encode() + "description: é\n".encode("latin-1"))
    with pytest.raises(SpecError, match="not a text file in UTF-8"):
        read_spec(file)


def test_overrides_come_before_the_checks():
    """They may repair, change and add, in lists and in sections that the file does not have."""
    spec = spec_from_text(
        SPEC,
        "x.yaml",
        [
            "training.epochs=3",
            "methods.1.betas=[2]",
            "resources.memory_gib=4",
            "grid.training.batch_size=[8, 9]",
        ],
    )
    assert spec.training.epochs == 3
    assert spec.methods[1].betas == (2.0,)
    assert spec.resources.memory_gib == 4
    assert spec.grid == {"training.batch_size": (8, 9)}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=abc", "training.epochs: 'abc' is text; it must be a whole number"),
        ("training.learning_rat=1", "training.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("trainin.epochs=1", "trainin: unknown key; did you mean 'training'?"),
        ("methods.1.betas=[1, -1]", "methods.1.betas.1: -1 is out of range; it must be above 0"),
        ("methods.2.betas=[1]", "'methods' is a list of 2; its entries are methods.0, methods.1"),
        ("methods.first.betas=[1]", "'methods' is a list of 2; its entries are methods.0, methods.1"),
        ("name.x=1", "'name' is 'small', which has no 'x'"),
        ("training.epochs", "write key=value, such as training.epochs=10"),
        (
            "seeds=[0",
            "not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
    ],
)
def test_a_wrong_override_is_its_own_place(override, expected):
    """What was typed is what is shown."""
    assert message(SPEC, override) == f"--set {override}: {expected}"


def test_an_override_that_makes_the_file_wrong_points_into_the_file():
    """The place is that of the value that no longer fits."""
    text = SPEC.replace("epochs: 10\n", "epochs: 10\n  warmup_epochs: 5\n")
    assert message(text, "training.epochs=5").startswith("x.yaml:9:18: training.warmup_epochs: ")


FULL = SPEC + "grid: {training.batch_size: [8, 16], architecture.hidden: [[8], [8, 4]]}\n"


@settings(max_examples=60)
@given(
    description=st.text(st.characters(codec="utf-8")),
    rate=st.floats(1e-12, 1e3),
    betas=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5, unique=True),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True),
)
def test_a_written_spec_reads_back_equal(description, rate, betas, seeds):
    """Nothing is lost or changed on the way to YAML and back, whatever the texts and numbers are."""
    spec = spec_from_text(FULL, "x.yaml")
    changes = {"description": description, "seeds": seeds, "evaluation": {"betas": betas}}
    content = spec.model_dump(by_alias=True) | changes
    content["methods"] = [
        {**content["methods"][0], "training": {"learning_rate": rate}},
        content["methods"][1],
    ]
    spec = validated(content)
    assert spec_from_text(spec_yaml(spec), "stored") == spec
