"""LaTeX tables, read by a small parser of the part of LaTeX that they use, and compiled where there is a LaTeX."""

import re
import shutil
import string
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Scaled
from evaluation.report.rendering.latex import SPECIAL, escape, latex_table, latex_tables
from evaluation.report.tables.text_tables import Cell, Table

HOSTILE = r"\input{/etc/passwd} 50% of $x_1^2$ & more # ~ [*] \\ {"
COMMANDS = set(
    re.findall(
        r"\w+",
        """usepackage begin end centering small footnotesize setlength tabcolsep caption label toprule midrule
        bottomrule scriptsize linewidth textbackslash textasciitilde textasciicircum textless textgreater textbar symbol
        times cdot pm leq geq to infty Vert frac ldots i j r v c o O ae AE ss alpha beta gamma delta epsilon zeta eta
        theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma
        Upsilon Phi Psi Omega""",
    )
)


class Document:
    """The environments, rows and commands of a table. Raises AssertionError where LaTeX would stop."""

    def __init__(self, content):
        self.text = "\n".join(line for line in content.decode("ascii").splitlines() if not line.startswith("%"))
        self.commands = set(re.findall(r"\\([A-Za-z]+)", self.text))
        assert "\n\n" not in self.text
        self._check_groups()
        self._check_environments()
        specification, body = re.search(
            r"\\begin{tabular}{@{}(.*?)@{}}\n(.*)\\end{tabular}", self.text, re.DOTALL
        ).groups()
        self.columns = re.findall(r"[lr]|p{[^}]*}", specification)
        assert "".join(self.columns) == specification
        rows = re.sub(r"\\(top|mid|bottom)rule\n", "", body)
        assert rows.endswith("\\\\\n")
        self.rows = [[cell.strip() for cell in row.split(" & ")] for row in rows.rstrip("\\\n").split(" \\\\\n")]
        assert {len(row) for row in self.rows} == {len(self.columns)}
        assert not any(row[0].startswith(("[", "*")) for row in self.rows)

    def _check_groups(self):
        """Every brace is closed, and every dollar sign, at the depth at which it was opened."""
        depth, formula_at = 0, None
        for sign in re.findall(r"\\[A-Za-z]+|\\.|[{}$&#%_^~]", self.text, re.DOTALL):
            if sign == "{":
                depth += 1
            elif sign == "}":
                depth -= 1
                assert depth >= 0
            elif sign == "$":
                assert formula_at in (None, depth)
                formula_at = depth if formula_at is None else None
            elif sign == "&":
                assert depth == 0
            elif sign == "^":
                assert formula_at is not None
            else:
                assert sign not in set("#%_")
        assert (depth, formula_at) == (0, None)

    def _check_environments(self):
        open_ones = []
        for kind, name in re.findall(r"\\(begin|end){(\w+\*?)}", self.text):
            if kind == "begin":
                open_ones.append(name)
            else:
                assert open_ones.pop() == name
        assert open_ones == []

    @property
    def caption(self):
        return re.search(r"\\caption{(.*)}\n", self.text)[1]


def tables(sweep):
    return {name: Document(content) for name, content in latex_tables(sweep, summarise(sweep)).items()}


def several_seeds(build):
    return [trial for seed in range(3) for trial in build.straight_pair(seed=seed, lower_by=1.0 + seed)]


def test_a_sweep_has_tables_of_methods_costs_comparisons_and_seeds(build):
    found = tables(build.sweep(*several_seeds(build)))
    assert list(found) == ["methods.tex", "costs.tex", "comparisons.tex", "seeds.tex"]
    assert [row[0] for row in found["methods.tex"].rows] == ["method", "MR-VAE", "", r"$\beta$-VAE, constant"]
    assert {"train", "lost"} <= set(found["costs.tex"].rows[0])
    assert {"mean distortion", "hypervolume"} <= set(found["methods.tex"].rows[0])
    assert [row[:2] for row in found["seeds.tex"].rows[1:4]] == [["MR-VAE", "0"], ["MR-VAE", "1"], ["MR-VAE", "2"]]


def test_no_column_of_the_methods_is_lost(build):
    """Each column of the report's table is in one of the two, and the name in both."""
    found = tables(build.sweep(*build.straight_pair()))
    heads = [set(found[name].rows[0]) for name in ("methods.tex", "costs.tex")]
    assert heads[0] & heads[1] == {"method", "trials"}
    assert {"train", "mean distortion", r"at the same $\beta$"} <= heads[0] | heads[1]


def test_numbers_are_those_of_the_report(build):
    """Parallel lines 1 nat apart over rates 10 to 30: means of 79 and 80, and four times the device time."""
    found = tables(build.sweep(*build.straight_pair()))
    methods = found["methods.tex"]
    column = methods.rows[0].index("mean distortion")
    assert [row[column] for row in methods.rows[1:]] == ["79.00", "80.00"]
    compared = found["comparisons.tex"]
    assert compared.rows[2][compared.rows[0].index("times cheaper")] == "4.0"
    assert "One seed, no interval." in compared.caption


def test_intervals_stand_below_their_numbers_and_are_explained(build):
    compared = tables(build.sweep(*several_seeds(build)))["comparisons.tex"]
    column = compared.rows[0].index("distortion")
    assert compared.rows[1][column] == "equal rates"
    assert compared.rows[2][column] == "$-$2.00"
    assert compared.rows[3][column].startswith(r"{\scriptsize $-$4.48 to +0.48")
    assert r"95 \% interval of Student{'}s t over 3 seeds" in compared.caption


def test_captions_say_what_was_measured(build):
    caption = tables(build.sweep(*build.straight_pair()))["methods.tex"].caption
    assert "the sweep demo (digits; mlp)" in caption
    assert "Measured on the test split (100 examples, 1 posterior sample each)." in caption
    assert "rates of 10.00 to 30.00 nats" in caption
    assert "a rate of 33 and a distortion of 99" in caption


def test_a_scaled_sweep_says_so_in_every_caption(build):
    scaled = build.sweep(*build.straight_pair(), scaled=Scaled("smoke_test", (("training.epochs", "200", "2"),)))
    for document in tables(scaled).values():
        assert r"Scaled by {``}smoke\_test{''}" in document.caption


def test_reasons_stand_in_the_caption(build):
    """Two β-VAEs are too few for a Bjøntegaard difference."""
    caption = tables(build.sweep(*build.straight_pair()))["comparisons.tex"].caption
    assert r"a Bj\o{}ntegaard difference needs 4" in caption


def test_a_sweep_without_results_has_what_there_is(build):
    pending = [replace(trial, state="pending", points=(), costs=()) for trial in build.straight_pair()]
    assert list(tables(build.sweep(*pending))) == ["methods.tex", "costs.tex", "seeds.tex"]
    assert tables(build.sweep()) == {}


def test_hostile_names_are_printed_and_do_nothing(build):
    trials = [replace(trial, series=HOSTILE) if trial.method == "beta-vae" else trial for trial in several_seeds(build)]
    texts = dict.fromkeys(("name", "dataset", "architecture"), HOSTILE)
    for document in tables(build.sweep(*trials, **texts)).values():
        assert document.commands <= COMMANDS
        assert re.fullmatch(r"[A-Za-z0-9.:-]+", re.search(r"\\label{(.*?)}\n", document.text)[1])


def test_large_numbers_are_formulas():
    content = latex_table(Table(("FLOPs",), ((Cell("1.2e+15"),), (Cell("−3e-05"),))), "", "x")
    assert Document(content).rows[1:] == [[r"$1.2 \times 10^{15}$"], [r"$-3 \times 10^{-5}$"]]


def test_columns_without_content_are_left_out_and_sentences_are_broken_into_lines():
    rows = ((Cell("a"), Cell("–"), Cell("some words", note="one; two")),)
    document = Document(latex_table(Table(("method", "PSNR", "remark"), rows), "caption", "x"))
    assert document.columns == ["l", r"p{0.17\linewidth}"]
    assert document.rows == [
        ["method", "remark"],
        ["a", "some words"],
        ["", r"{\scriptsize one}"],
        ["", r"{\scriptsize two}"],
    ]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("50 % of β_1 & more", r"50 \% of $\beta$\_1 \& more"),
        ("−0.42 ± 1 × 2", r"$-$0.42 $\pm$ 1 $\times$ 2"),
        ("a -- b --- c,, d", "a -{}- b -{}-{}- c,{}, d"),
        ("λ Σ µ Ω", r"$\lambda$ $\Sigma$ $\mu$ $\Omega$"),
        ("Bjøntegaard, naïve, Köln, Ångström", r"Bj\o{}ntegaard, na\"{\i}ve, K\"{o}ln, \r{A}ngstr\"{o}m"),
        ("e\N{COMBINING ACUTE ACCENT}", r"\'{e}"),
        ("[*] `'\"", r"{[}{*}{]} {`}{'}\symbol{34}"),
        ("你 ς \x00", "(U+4F60) (U+03C2)  "),
    ],
)
def test_characters_are_printed_as_they_are(text, printed):
    assert escape(text) == printed


@given(st.text(string.printable + "".join(SPECIAL) + "βé"))
def test_what_is_printed_reads_as_what_was_written(text):
    """No character is lost, changed or taken for a command, whatever stands beside it.

    Except what prints alike: spaces, the two letters mu, straight quotes and curly ones.
    """
    text = re.sub(r"\s", " ", text).translate({ord("‘"): "`", ord("’"): "'", ord("µ"): "μ", ord("\N{WORD JOINER}"): ""})
    assert read(escape(text)) == text


@given(st.text())
def test_any_text_makes_a_table_that_can_be_read(text):
    table = Table(("method", "remark"), ((Cell(text or "x", note=text), Cell("y")),))
    document = Document(latex_table(table, text, text))
    assert document.rows[0] == ["method", "remark"]
    assert document.commands <= COMMANDS


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_takes_the_tables(build, tmp_path):
    """All of a sweep's, and one in which every special letter stands in a head, a cell, a remark and the caption."""
    trials = [*build.straight_pair(seed=0), *build.straight_pair(seed=1)]
    sweep = build.sweep(*(replace(trial, series=f"{trial.series}, {HOSTILE}") for trial in trials))
    strange = HOSTILE + "".join(SPECIAL) + "αβγ Łódź 日本"
    tables = latex_tables(sweep, summarise(sweep))
    assert tables.keys() == {"methods.tex", "costs.tex", "comparisons.tex", "seeds.tex"}
    tables["strange.tex"] = latex_table(Table((strange,), ((Cell(strange, note=strange),),)), strange, strange)
    for name, content in tables.items():
        (tmp_path / name).write_bytes(content)
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    document = (
        f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    )
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def read(latex):
    """Return what LaTeX prints: the longest command first, and braces for nothing."""
    known = {command: character for character, command in SPECIAL.items() if command}
    known |= {r"$\beta$": "β", r"$\mu$": "μ", r"\'{e}": "é", "{`}": "`", "{'}": "'", "~": " ", "{}": ""}
    pattern = "|".join(re.escape(command) for command in sorted(known, key=len, reverse=True))
    return re.sub(pattern, lambda found: known[found[0]], latex)
