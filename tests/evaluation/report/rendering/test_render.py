import base64
import csv
import io
import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import csv as arrow_csv

from evaluation.records import Cost, Point, from_parquet, parquet_bytes, schema
from evaluation.report.analysis.definitions import definitions
from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Pictures
from evaluation.report.figures.pictures import sprite
from evaluation.report.rendering.formats import USUAL
from evaluation.report.rendering.html import MOST_DOWNLOAD, render_html
from evaluation.report.rendering.markdown import render_markdown
from evaluation.report.rendering.render import render_formats
from evaluation.report.tables import text_tables
from evaluation.report.tables.comparison_tables import COLUMNS

TABLES = {"points.csv", "costs.csv", "trials.csv", "seeds.csv"}
HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> & \"quoted\""


class Page(HTMLParser):
    """The elements and attributes that a browser would see."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.scripts = []
        self.text = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self._in_script = True
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data):
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        else:
            self.text.append(data)

    @property
    def data(self):
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == "data")


def page_of(sweep, downloads=None):
    return Page(render_html(sweep, summarise(sweep), downloads or {}))


def pictures(betas=((1.0,),)):
    originals = np.arange(2 * 1 * 3 * 3, dtype=np.uint8).reshape(2, 1, 3, 3)
    stack = np.stack([originals + 10 * (index + 1) for index in range(len(betas))])
    return Pictures(tuple(betas), originals, stack, stack + 100)


def hostile_sweep(build):
    trials = [
        replace(
            trial,
            series=HOSTILE if trial.method == "beta-vae" else trial.series,
            settings={HOSTILE: HOSTILE},
            provenance={HOSTILE: HOSTILE},
            message=HOSTILE,
            tracking_url="javascript:alert(1)",
            history=(build.epoch(1),),
            pictures=pictures(trial.betas if trial.method == "beta-vae" else ((1.0,),)),
        )
        for trial in build.straight_pair()
    ]
    trials[-1] = replace(trials[-1], state="failed")
    names = ("name", "description", "spec_yaml", "dataset", "architecture", "commit")
    texts = dict.fromkeys(names, HOSTILE)
    return build.sweep(*trials, **texts, notes=(HOSTILE,))


def files_of(sweep):
    """The files of a report in its usual formats, by name."""
    return {name: content for files in render_formats(sweep, USUAL).values() for name, content in files.items()}


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_the_usual_files_are_made(build):
    assert set(files_of(build.sweep(*build.straight_pair()))) == {"report.html", "report.md", "points.parquet", *TABLES}


def test_the_same_record_gives_the_same_files(build):
    sweep = build.sweep(*build.straight_pair())
    assert files_of(sweep) == files_of(sweep)


def test_points_survive_csv(build):
    """Every column of every point, floats to the last bit."""
    trials = build.straight_pair(lower_by=0.1 + 0.2)
    rows = rows_of(files_of(build.sweep(*trials))["points.csv"])
    points = [point for trial in trials for point in trial.points]
    assert [row.pop("series") for row in rows] == ["MR-VAE"] * 3 + ["β-VAE, constant"] * 2
    for row, point in zip(rows, points, strict=True):
        assert list(row) == schema(Point).names
        assert float(row["distortion"]) == point.distortion
        assert tuple(float(beta) for beta in row["betas"].split()) == point.betas
        assert row["psnr_db"] == ""


def test_points_survive_parquet(build):
    trials = build.straight_pair()
    table = pq.read_table(io.BytesIO(files_of(build.sweep(*trials))["points.parquet"]))
    assert table.column("series").to_pylist() == ["MR-VAE"] * 3 + ["β-VAE, constant"] * 2
    stored = pa.table({name: table[name] for name in schema(Point).names}).cast(schema(Point))
    assert from_parquet(Point, parquet_bytes(stored), "points") == [point for trial in trials for point in trial.points]


def test_points_have_the_settings_that_tell_curves_apart(build):
    """Annealing always, and what differs; the seed and β have columns already."""
    trials = [
        replace(
            trial, settings={"method.annealing": "cyclic", "training.epochs": "9", "method.beta": beta, "seed": "0"}
        )
        for trial, beta in zip(build.straight_pair()[1:], ("0.1", "10.0"), strict=True)
    ]
    single = replace(build.straight_pair()[0], settings={"training.epochs": "18", "seed": "0"})
    names = ["series", *schema(Point).names, "training.epochs", "method.annealing"]
    for name, read in (("points.parquet", pq.read_table), ("points.csv", arrow_csv.read_csv)):
        table = read(io.BytesIO(files_of(build.sweep(single, *trials))[name]))
        assert table.column_names == names
        assert [str(epochs) for epochs in table.column("training.epochs").to_pylist()] == ["18"] * 3 + ["9"] * 2
        annealing = table.column("method.annealing").to_pylist()
        assert [value or None for value in annealing] == [None] * 3 + ["cyclic"] * 2


def test_costs_csv_has_every_attempt(build):
    single = replace(build.straight_pair()[0], costs=(build.cost(7.0, outcome="failed"), build.cost(3.0, attempt=2)))
    rows = rows_of(files_of(build.sweep(single))["costs.csv"])
    assert list(rows[0]) == ["series", *(field.name for field in fields(Cost))]
    assert [(row["outcome"], float(row["seconds"])) for row in rows] == [("failed", 7.0), ("done", 3.0)]


def test_trials_csv_keeps_messages_whole(build):
    message = 'loss is NaN, "really",\nat step 8'
    failed = replace(build.straight_pair()[0], state="failed", message=message)
    (row,) = rows_of(files_of(build.sweep(failed))["trials.csv"])
    assert (row["message"], row["state"], row["lost_device_seconds"]) == (message, "failed", "10.0")


def test_the_page_offers_its_tables_as_data(build):
    files = files_of(build.sweep(*build.straight_pair()))
    page = Page(files["report.html"].decode())
    links = {a["download"]: a["href"] for tag, a in page.elements if tag == "a" and "download" in a}
    assert set(links) == TABLES
    for name, address in links.items():
        assert base64.b64decode(address.partition("base64,")[2]) == files[name]


def test_a_table_that_is_too_large_for_the_page_is_named_and_not_carried(build):
    """Eight mebibytes fit; a link to a file beside the page would be dead where the page is sent on alone."""
    small, large = b"x" * MOST_DOWNLOAD, b"x" * (MOST_DOWNLOAD + 1)
    page = page_of(build.sweep(*build.straight_pair()), {"trials.csv": small, "points.csv": large})
    assert [a["download"] for tag, a in page.elements if tag == "a" and "download" in a] == ["trials.csv"]
    assert "points.csv: too large for this page; see the report’s folder" in "".join(page.text)


def test_the_page_loads_nothing(build):
    """No element refers to anything but the page itself and data in it."""
    page = page_of(build.sweep(*[replace(t, pictures=pictures()) for t in build.straight_pair()]))
    loading = {"src", "srcset", "data", "poster", "action", "background"}
    assert not [(tag, a) for tag, a in page.elements if loading & a.keys()]
    references = [a["href"] for _, a in page.elements if "href" in a]
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)


def test_the_page_lets_nothing_be_loaded(build):
    """The policy allows its two scripts by hash, and no address at all."""
    page = page_of(build.sweep())
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    executed = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert len(executed) == policy.count("'sha256-") == 2


def test_styles_load_nothing(build):
    (style,) = re.findall(r"<style>(.*?)</style>", render_html(build.sweep(), summarise(build.sweep()), {}), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_text_is_inert(build):
    """As many elements as with harmless text, no handler, and the text is there to be read."""
    sweep = hostile_sweep(build)
    page = page_of(sweep)
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert len(page.scripts) == 3
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert HOSTILE in "".join(page.text)
    assert HOSTILE in [one["name"] for one in page.data["series"]]


def test_only_web_addresses_become_links(build):
    harmless = replace(build.straight_pair()[0], tracking_url="https://tracking.example/1?a=1&b=2")
    hostile = replace(build.straight_pair()[1], tracking_url="javascript:alert(1)")
    links = [a["href"] for tag, a in page_of(build.sweep(harmless, hostile)).elements if tag == "a"]
    assert "https://tracking.example/1?a=1&b=2" in links
    assert not [link for link in links if link.startswith("javascript")]


def test_hostile_text_is_inert_in_markdown(build):
    text = render_markdown(hostile_sweep(build), summarise(hostile_sweep(build)))
    assert not re.search(r"(?<!\\)<", text)
    assert "javascript" not in text


def test_numbers_that_are_not_finite_are_null_in_the_page(build):
    single, *sweep = build.straight_pair()
    broken = replace(single, history=(replace(build.epoch(1), loss=float("nan"), elbo=float("-inf")),))
    (history,) = page_of(build.sweep(broken, *sweep)).data["history"]
    assert (history["loss"], history["elbo"]) == ([None], [None])


def test_curves_in_the_page(build):
    plane = page_of(build.sweep(*build.straight_pair())).data["planes"][0]
    assert [(curve["series"], curve["betas"]) for curve in plane["curves"]] == [
        ("MR-VAE", ["0.1", "1", "10"]),
        ("β-VAE, constant", ["0.1", "10"]),
    ]
    assert plane["front"] == [[10.0, 89.0], [20.0, 79.0], [30.0, 69.0]]


def test_units_have_a_chart_each(build):
    single, *sweep = build.straight_pair()
    single = replace(single, points=tuple(replace(point, distortion_unit="sse") for point in single.points))
    planes = page_of(build.sweep(single, *sweep)).data["planes"]
    assert [plane["unit"] for plane in planes] == ["nats", "summed squared error"]


def test_bars_are_of_the_costs_that_are_compared(build):
    """By device kind, without lost time and set-up, which the table of methods has."""
    costs = (
        build.cost(7.0, outcome="failed"),
        build.cost(9.0, attempt=2),
        build.cost(3.0, attempt=2, device="H200", phase="data"),
        build.cost(2.0, attempt=2, device="H200", phase="evaluate"),
    )
    data = page_of(build.sweep(replace(build.straight_pair()[0], costs=costs))).data
    assert data["clock"] == "device time"
    assert [(bar["device"], bar["phase"], bar["device_seconds"]) for bar in data["compute"]] == [
        ("cpu", "train", 9.0),
        ("H200", "evaluate", 2.0),
    ]


def decoded(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sprite_has_a_row_a_beta_and_a_column_an_image(channels):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 3, channels, 4, 5), dtype=np.uint8)
    pixels = decoded(sprite(images)).reshape(8, 15, channels)
    for row in range(2):
        for column in range(3):
            shown = pixels[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
            np.testing.assert_array_equal(shown.transpose(2, 0, 1), images[row, column])


def test_models_of_a_sweep_stand_in_one_sprite_by_rising_beta(build):
    single, low, high = build.straight_pair()
    high, low = replace(high, pictures=pictures(((10.0,),))), replace(low, pictures=pictures(((0.1,),)))
    trials = (replace(single, pictures=pictures(((0.1,), (1.0,), (10.0,)))), high, low)
    (shown,) = page_of(build.sweep(*trials)).data["pictures"]
    assert [(one["name"], one["betas"]) for one in shown["series"]] == [
        ("MR-VAE", [0.1, 1.0, 10.0]),
        ("β-VAE, constant", [0.1, 10.0]),
    ]
    assert decoded(shown["series"][0]["samples"]).shape == (9, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"originals": np.zeros((0, 1, 3, 3), np.uint8)}, "originals have the shape"),
        ({"originals": np.zeros((2, 2, 3, 3), np.uint8)}, "originals have the shape"),
        ({"samples": np.zeros((2, 2, 1, 3, 3), np.uint8)}, "samples have the shape"),
        ({"reconstructions": np.zeros((1, 2, 1, 3, 3))}, "reconstructions are float64"),
    ],
)
def test_pictures_of_other_shapes_or_types_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(pictures(), **changes)


def test_an_empty_sweep_has_a_report(build):
    page = files_of(build.sweep())["report.html"].decode()
    assert "The sweep has no trials." in "".join(Page(page).text)


def test_the_page_says_what_squared_error_means_for_beta(build):
    single = build.straight_pair()[0]
    squared = replace(single, points=tuple(replace(point, distortion_unit="sse") for point in single.points))
    assert "β is on that scale" in "".join(page_of(build.sweep(squared)).text)
    assert "β is on that scale" not in "".join(page_of(build.sweep(single)).text)


def test_markdown_tables_have_as_many_cells_as_columns(build):
    sweep = build.sweep(*[replace(t, message="a | b", attempts=2) for t in build.straight_pair()])
    tables = re.findall(r"(?:^\|.*\|$\n)+", render_markdown(sweep, summarise(sweep)), re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_of_very_many_points_the_first_are_listed_and_all_are_counted(build, monkeypatch):
    monkeypatch.setattr(text_tables, "MOST_ROWS", 4)
    sweep = build.sweep(*build.straight_pair())
    page = "".join(page_of(sweep).text)
    assert "5 operating points" in page
    assert "4 of 5 rows are shown, the first; points.csv has all rows." in page
    assert "4 of 5 rows are shown, the first; points.csv has all rows." in render_markdown(sweep, summarise(sweep))


def test_of_very_many_trials_those_that_are_not_done_are_listed(build, monkeypatch):
    monkeypatch.setattr(text_tables, "MOST_ROWS", 1)
    done, other, *_ = build.straight_pair()
    sweep = build.sweep(done, replace(other, state="failed", message="its loss was infinite", points=()))
    table = text_tables.trials_table(sweep.trials)
    assert [row[-1].text for row in table.rows] == ["its loss was infinite"]
    assert table.note == "1 of 2 rows are shown, those not done first; trials.csv has all rows."


def test_every_number_of_the_comparison_has_a_definition(build):
    """Each column of the tables that set one run against a sweep is a term of “How to read this”, or part of one."""
    sweep = build.sweep(*build.straight_pair(seed=0), *build.straight_pair(seed=1))
    page = page_of(sweep)
    terms = {term.casefold() for term, _ in definitions(summarise(sweep), [])}
    heads = [column.head for column in COLUMNS]
    assert [head for head in heads if head.casefold() not in terms] == []
    assert "95 % interval of Student’s t over 2 seeds" in "".join(page.text)


def test_every_metric_that_was_measured_has_a_definition(build):
    points = [
        replace(
            build.point(1, 2),
            metrics={"psnr_db": 20.0, "fid": 9.0, "inception_extractor": "inception-1234", "nll_samples": 64},
        )
    ]
    meanings = dict(definitions(summarise(build.sweep()), points))
    assert "PSNR, dB" in meanings
    assert meanings["FID"].endswith("Lower is better. Here: features of inception-1234.")
    assert "NLL, nats" not in meanings
