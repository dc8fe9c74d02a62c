"""The declarations of the metrics: what specs, records, MLflow and reports rely on."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from evaluation.metrics.catalogue import CATALOGUE, COLUMNS, QUANTITIES
from evaluation.records import Point, schema


def test_a_column_belongs_to_one_metric_and_is_none_of_the_points_own():
    columns = Counter(each.column for metric in CATALOGUE.values() for each in metric.columns)
    assert [column for column, count in columns.items() if count > 1] == []
    assert not columns.keys() & {field.name for field in fields(Point)}


def test_every_column_is_in_the_files():
    assert set(COLUMNS) <= set(schema(Point).names)


def test_labels_tell_quantities_apart():
    """Tables have a column for each, under its heading."""
    assert len({quantity.heading for quantity in QUANTITIES}) == len(QUANTITIES)


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.column)
def test_a_meaning_is_sentences(quantity):
    """The direction and the conditions are put behind it."""
    assert quantity.meaning.endswith(".")


def test_reading_the_catalogue_loads_nothing_heavy():
    """Planning ten thousand trials must not pay for torch."""
    program = "import sys, evaluation.metrics.catalogue; assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_page_on_specs_lists_every_metric_with_its_columns():
    """docs/spec.md has one row for each metric, in the catalogue's order."""
    page = (Path(__file__).parents[3] / "docs/spec.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \|$", page, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}
    assert listed == {name: [each.column for each in metric.quantities] for name, metric in CATALOGUE.items()}
