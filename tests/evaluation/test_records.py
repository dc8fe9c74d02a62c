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

from evaluation.records import (
    Cost,
    HistoryRow,
    Point,
    RecordError,
    from_parquet,
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
    "tuple[float, ...] | None": st.none() | st.lists(NUMBERS, max_size=4).map(tuple),
}


def rows(kind):
    return st.lists(st.builds(kind, **{field.name: BY_ANNOTATION[field.type] for field in fields(kind)}), max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_rows_read_back_as_they_were_written(kind, data):
    """Nulls, infinities, empty lists and no rows at all included."""
    written = data.draw(rows(kind))
    assert from_parquet(kind, to_parquet(kind, written), "a file") == written


def test_not_a_number_is_kept_apart_from_null(build):
    point = replace(build.point(1.0, math.nan), psnr_db=None)
    (read,) = from_parquet(Point, to_parquet(Point, [point]), "a file")
    assert math.isnan(read.distortion)
    assert read.psnr_db is None


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


def test_the_same_rows_are_the_same_bytes(build):
    points = [build.point(1.0, 2.0)]
    assert to_parquet(Point, points) == to_parquet(Point, points)


def test_any_reader_sees_the_columns_of_the_record(build):
    """Read without our schema, as a user's tool would."""
    table = pq.read_table(io.BytesIO(to_parquet(Point, [build.point(1.0, 2.0, beta=0.5)])))
    assert table.column_names == [field.name for field in fields(Point)]
    assert table["betas"].to_pylist() == [[0.5]]
    assert table.schema.metadata[b"mrvae.kind"] == b"points"


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_nullable_exactly_where_none_is_allowed(kind):
    nullable = {field.name for field in fields(kind) if "None" in field.type}
    assert {column.name for column in schema(kind) if column.nullable} == nullable


def test_a_missing_value_in_a_required_column_is_refused(build):
    with pytest.raises(pa.ArrowInvalid):
        to_parquet(Point, [replace(build.point(1.0, 2.0), rate_nats=None)])


def test_a_file_of_another_kind_is_named(build):
    content = to_parquet(Cost, [build.cost(1.0)])
    with pytest.raises(RecordError, match=r"trials/a\.parquet: holds costs, not points"):
        from_parquet(Point, content, "trials/a.parquet")


def test_someone_elses_parquet_file_is_refused():
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), sink)
    with pytest.raises(RecordError, match=r"x\.parquet: holds something else, not points"):
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


def test_the_beta_of_a_point_is_its_first(build):
    assert build.point(1.0, 2.0, beta=0.3).beta == 0.3


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
