import io
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics.catalogue import COLUMNS
from evaluation.records import (
    Cost,
    HistoryRow,
    Point,
    RecordError,
    from_parquet,
    read_rows,
    schema,
    to_parquet,
    to_table,
)

KINDS = (Point, HistoryRow, Cost)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.floats(allow_nan=False)
BY_ANNOTATION = {
    "str": TEXT,
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": NUMBERS,
    "tuple[float, ...]": st.lists(NUMBERS, max_size=4).map(tuple),
    "int | None": st.none() | st.integers(0, 2**40),
    "float | None": st.none() | NUMBERS,
    "str | None": st.none() | TEXT,
    "Betas": st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4).map(tuple),
}
TYPES = {str: "str", int: "int", float: "float", tuple[float, ...]: "tuple[float, ...]"}


METRICS = st.fixed_dictionaries({}, optional={name: BY_ANNOTATION[TYPES[each]] for name, each in COLUMNS.items()})


def rows(kind):
    columns = {field.name: METRICS if field.name == "metrics" else BY_ANNOTATION[field.type] for field in fields(kind)}
    return st.lists(st.builds(kind, **columns), max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25)
def test_rows_read_back_as_they_were_written(kind, data):
    """Nulls, infinities, empty lists and no rows at all included."""
    written = data.draw(rows(kind))
    assert read_rows(kind, to_parquet(kind, written), "a file") == written


def test_not_a_number_is_kept_apart_from_null(build):
    point = build.point(1.0, math.nan)
    (read,) = from_parquet(Point, to_parquet(Point, [point]), "a file")
    assert math.isnan(read.distortion)
    assert read.metrics == {}


def test_a_process_that_ends_after_reading_ends_well(build, tmp_path):
    """Arrow's threads abort a process whose end they meet, which about one in five did."""
    path = tmp_path / "points.parquet"
    path.write_bytes(to_parquet(Point, [build.point(1.0, 2.0)]))
    program = (
        "import sys; from pathlib import Path; from evaluation.records import Point, from_parquet\n"
        "for _ in range(3): from_parquet(Point, Path(sys.argv[1]).read_bytes(), 'a file')"
    )
    ended = [subprocess.run([sys.executable, "-c", program, path], check=False).returncode for _ in range(12)]
    assert ended == [0] * 12


def test_reading_uses_no_other_thread(build, tmp_path):
    """A thread of Arrow's that releases Python's bytes while the process ends aborts it; pandas would start more."""
    path = tmp_path / "points.parquet"
    path.write_bytes(to_parquet(Point, [build.point(1.0, 2.0)]))
    program = (
        "import os, sys; from pathlib import Path; import pyarrow.parquet\n"
        "from evaluation.records import Point, from_parquet\n"
        "before = os.listdir('/proc/self/task')\n"
        "from_parquet(Point, Path(sys.argv[1]).read_bytes(), 'a file')\n"
        "assert os.listdir('/proc/self/task') == before\n"
        "assert not {'pyarrow.dataset', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)


def test_the_same_rows_are_the_same_bytes(build):
    points = [build.point(1.0, 2.0)]
    assert to_parquet(Point, points) == to_parquet(Point, points)


def test_any_reader_sees_the_columns_of_the_record(build):
    """Read without our schema, as a user's tool would."""
    table = pq.read_table(io.BytesIO(to_parquet(Point, [build.point(1.0, 2.0, beta=0.5)])))
    assert set(table.column_names) == {field.name for field in fields(Point)} - {"metrics"} | set(COLUMNS)
    assert table["betas"].to_pylist() == [[0.5]]
    assert table.schema.metadata[b"mrvae.kind"] == b"points"


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_nullable_exactly_where_none_is_allowed(kind):
    nullable = {field.name for field in fields(kind) if "None" in field.type}
    of_metrics = set(COLUMNS) if kind is Point else set()
    assert {column.name for column in schema(kind) if column.nullable} == nullable | of_metrics


def test_a_missing_value_in_a_required_column_is_refused(build):
    with pytest.raises(pa.ArrowInvalid):
        to_parquet(Point, [replace(build.point(1.0, 2.0), rate_nats=None)])


def test_a_file_of_another_kind_is_named(build):
    content = to_parquet(Cost, [build.cost(1.0)])
    with pytest.raises(RecordError, match=r"trials/a\.parquet: contains costs, not points"):
        from_parquet(Point, content, "trials/a.parquet")


def test_someone_elses_parquet_file_is_refused():
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), sink)
    with pytest.raises(RecordError, match=r"x\.parquet: contains something else, not points"):
        from_parquet(Point, sink.getvalue(), "x.parquet")


def written_with(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_a_later_schema_version_is_refused(build):
    table = to_table(Point, [build.point(1.0, 2.0)])
    later = table.replace_schema_metadata({**table.schema.metadata, b"mrvae.schema_version": b"99"})
    with pytest.raises(RecordError, match="schema version 99 cannot be read by this release"):
        from_parquet(Point, written_with(later), "x.parquet")


def test_a_file_without_one_of_the_columns_is_refused(build):
    table = to_table(Point, [build.point(1.0, 2.0)])
    with pytest.raises(RecordError, match="cannot be read by this release"):
        from_parquet(Point, written_with(table.drop_columns(["elbo"])), "x.parquet")


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_damaged_file_is_named_with_what_to_do(build, kept):
    content = to_parquet(Point, [build.point(1.0, 2.0)])[:kept]
    with pytest.raises(RecordError, match=r"x\.parquet: not a readable Parquet file .* evaluate again"):
        from_parquet(Point, content, "x.parquet")


def test_records_do_not_change(build):
    with pytest.raises(FrozenInstanceError):
        build.point(1.0, 2.0).rate_nats = 3.0


def test_a_metric_that_the_catalogue_does_not_have_is_refused(build):
    """A misspelt column would be lost where the file is written."""
    with pytest.raises(ValueError, match="no metric has a column 'psnr'"):
        replace(build.point(1.0, 2.0), metrics={"psnr": 20.0})


def test_the_loss_of_a_point_weights_the_rate_of_each_layer_by_its_beta(build):
    point = replace(build.point(5.0, 2.0, beta=(0.5, 10.0)), rates_nats=(4.0, 1.0))
    assert point.loss == 2.0 + 0.5 * 4.0 + 10.0 * 1.0
    assert replace(point, betas=(3.0,)).loss == replace(point, betas=(3.0, 3.0)).loss == 2.0 + 3.0 * 5.0


def test_a_column_that_came_later_is_null_in_what_was_written_before(build):
    """A store of an earlier release still has its reports."""
    table = to_table(Point, [build.point(1.0, 2.0)])
    earlier = written_with(table.drop_columns(["mig", "unit_variances", "fid"]))
    assert from_parquet(Point, earlier, "x.parquet") == [build.point(1.0, 2.0)]


def test_costs_from_before_shares_were_measured_have_none(build):
    costs = [build.cost(4.0, devices=0.5)]
    earlier = written_with(to_table(Cost, costs).drop_columns(["measured_share"]))
    assert from_parquet(Cost, earlier, "x.parquet") == costs
    assert (costs[0].measured_share, costs[0].device_seconds) == (None, 2.0)


def test_a_column_of_another_type_is_named(build):
    table = to_table(Point, [build.point(1.0, 2.0)])
    place = table.schema.get_field_index("psnr_db")
    unlike = table.set_column(place, "psnr_db", table.column("seed"))
    with pytest.raises(RecordError, match="column 'psnr_db' is not as expected"):
        from_parquet(Point, written_with(unlike), "x.parquet")


WRONG = {
    "the rate is -3 nats": {"rates_nats": (-3.0,), "rate_nats": -3.0, "elbo": -67.0},
    "mean over 0 examples": {"examples": 0},
    "its layers have": {"rate_nats": 9.0, "elbo": -79.0},
    "the ELBO is": {"elbo": -1.0},
    r"β is \[0.0\]": {"betas": (0.0,)},
    r"β is \[nan\]": {"betas": (math.nan,)},
    r"β is \[\]": {"betas": ()},
    "it has no rate": {"rates_nats": ()},
    "trial_id is other": {"trial_id": "other"},
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_point_that_nothing_writes_is_refused(build, problem):
    """With the file, the row and the cause; what a store has may come from anywhere."""
    good = build.point(5.0, 70.0)
    content = to_parquet(Point, [good, replace(good, betas=(2.0,)), replace(good, **WRONG[problem])])
    with pytest.raises(RecordError, match=rf"points: row 2 is not used: .*{problem}"):
        from_parquet(Point, content, "points", trial_id=good.trial_id)


def test_a_point_that_is_there_twice_is_refused(build):
    """Within one evaluation; a report's file has the points of many."""
    good = build.point(5.0, 70.0)
    content = to_parquet(Point, [good, good])
    assert len(from_parquet(Point, content, "points")) == 2
    with pytest.raises(RecordError, match="is there twice"):
        from_parquet(Point, content, "points", eval_id=good.eval_id)


def test_what_a_diverged_model_gives_is_genuine(build):
    """Its values are not finite, and a rate may be below 0 by rounding."""
    for changes in ({"distortion": math.nan, "elbo": math.nan}, {"distortion": math.inf, "elbo": -math.inf}):
        from_parquet(Point, to_parquet(Point, [replace(build.point(5.0, 70.0), **changes)]), "points")
    from_parquet(Point, to_parquet(Point, [build.point(-1e-7, 70.0)]), "points")


@pytest.mark.parametrize("changes", [{"seconds": -1.0}, {"seconds": math.nan}, {"attempt": 0}, {"flops": -1.0}])
def test_a_cost_that_nothing_writes_is_refused(build, changes):
    content = to_parquet(Cost, [replace(build.cost(1.0), **changes)])
    with pytest.raises(RecordError, match=f"row 0 is not used: {next(iter(changes))} is"):
        from_parquet(Cost, content, "costs")
