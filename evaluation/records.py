"""The three record kinds (points, history, costs), their Parquet schemas, and reading and writing them.

Any Parquet reader can query the files; each carries its kind and schema version in the file's metadata.
"""

from __future__ import annotations

import io
import typing
from collections.abc import Mapping  # noqa: TC003 (the schema is read from annotations at run time)
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from evaluation import validation
from evaluation.metrics.catalogue import COLUMNS
from evaluation.operating_points import Betas, weighted_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

SCHEMA_VERSION = 1


class RecordError(Exception):
    """A Parquet file was not written by this package, is damaged, or has a schema version this release cannot read."""


@dataclass(frozen=True)
class Point:
    """One trained model evaluated at one operating point.

    Rates are in nats per example, those of the latent layers and their sum. Distortion is per example, in
    `distortion_unit`: "nats" for a Bernoulli likelihood, "sse" for the summed squared error. `elbo` is
    -(distortion + rate), the evidence lower bound at β = 1; for "sse" it is the bound of a Gaussian with σ² = 1/2 up
    to a constant of the data's dimension. `examples` and `posterior_samples` are the numbers that the means are over.
    `metrics` are the values of the columns in `evaluation.metrics.catalogue`; columns that were not requested are null
    in the file.

    Raises:
        ValueError: no metric has such a column.
    """

    trial_id: str
    eval_id: str
    sweep: str
    method: str
    dataset: str
    architecture: str
    objective: str
    seed: int
    split: str
    betas: Betas
    rates_nats: tuple[float, ...]
    rate_nats: float
    distortion: float
    distortion_unit: str
    elbo: float
    examples: int
    posterior_samples: int
    latent_units: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if unknown := self.metrics.keys() - COLUMNS.keys():
            raise ValueError(f"no metric has a column {min(unknown)!r}; evaluation/metrics/catalogue.py lists them")

    @property
    def loss(self) -> float:
        """The distortion and the rate of each layer times its β."""
        return self.distortion + weighted_rate(self.betas, self.rates_nats, self.rate_nats)


@dataclass(frozen=True)
class HistoryRow:
    """One epoch of training, averaged over its examples (over the sampled β too, for a multi-rate model).

    `beta_weight` is the factor in [0, 1] by which KL annealing multiplied β; `loss` is distortion + weight · β · rate.
    `seconds` counts the training steps of the epoch, `step` the steps since the start of the trial.
    """

    trial_id: str
    epoch: int
    step: int
    learning_rate: float
    beta_weight: float
    loss: float
    distortion: float
    rate_nats: float
    elbo: float
    images: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """The cost of one phase of one attempt at a trial; failed and interrupted attempts have rows too.

    `phase` is train, evaluate (rate and distortion), metrics (all others, and pictures), along (evaluation during
    training), compile, data or checkpoint. `outcome` is that of the attempt: done, failed, interrupted, or running
    until it ends (a later attempt that finds "running" changes it to "killed"). `flops` are those of torch's
    counter, forward and backward, with a multiply-add as two and without elementwise work; null if the phase has no
    counted work. `eval_id` is the evaluation that the attempt was for; null in files of earlier releases. `joules`
    is the energy of the whole GPUs, idle power included. Their counter is updated every 20 to 100 ms, so short
    phases are imprecise. It is null on a CPU and on a part of a GPU. `measured_share`, on a part of a GPU, is the
    attempt's share of the GPU's work, which the driver samples about every second: during the phase, or during the
    whole attempt if the phase was too short for a sample; null if the device does not measure it. `cpu_seconds` is the
    CPU time of all threads and ranks of a trial on a CPU; null for a trial on a GPU and in files of earlier releases.
    """

    trial_id: str
    attempt: int
    phase: str
    outcome: str
    seconds: float
    device_kind: str
    device_count: float
    images: int
    flops: float | None
    joules: float | None
    peak_memory_bytes: int | None
    started_at: float
    host: str
    measured_share: float | None = None
    eval_id: str | None = None
    cpu_seconds: float | None = None

    @property
    def shared(self) -> bool:
        """Whether the attempt ran on a part of a device."""
        return not float(self.device_count).is_integer()

    @property
    def device_seconds(self) -> float:
        """Seconds × devices; for a shared device × the measured share, or the reserved share if none was measured."""
        return self.seconds * (self.device_count if self.measured_share is None else self.measured_share)


Record = TypeVar("Record", Point, HistoryRow, Cost)

KINDS: dict[type[Any], str] = {Point: "points", HistoryRow: "history", Cost: "costs"}


def schema(kind: type[Any]) -> pa.Schema:
    """Return the Arrow schema of Point, HistoryRow or Cost; columns are nullable exactly where None is allowed."""
    import pyarrow as pa  # here and below, because with NumPy it takes longer to import than most commands run

    arrow_types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        tuple[float, ...]: pa.list_(pa.float64()),
    }
    hints = {name: _without_none(hint) for name, hint in _columns(kind).items()}
    columns = [pa.field(name, arrow_types[inner], nullable=nullable) for name, (inner, nullable) in hints.items()]
    metadata = {"mrvae.kind": KINDS[kind], "mrvae.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(columns, metadata=metadata)


def to_table(kind: type[Record], rows: Sequence[Record]) -> pa.Table:
    """Return the rows as an Arrow table with the kind's schema."""
    import pyarrow as pa

    # By column, which is several times as fast as by row: a report writes hundreds of thousands.
    columns = schema(kind)
    arrays = [pa.array(_values(kind, rows, column.name), column.type) for column in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


def to_parquet(kind: type[Record], rows: Sequence[Record]) -> bytes:
    """Return the rows as the bytes of a Parquet file."""
    return parquet_bytes(to_table(kind, rows))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file, compressed by zstd."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_parquet(kind: type[Record], content: bytes, source: str, **identity: str) -> list[Record]:
    """Return the rows of a Parquet file; `source` names it in errors.

    `identity` are columns that have one value in every row, such as `trial_id`, with that value.

    Raises:
        RecordError: the bytes are not a Parquet file, or are of another kind or another schema version, or a row has
            values that nothing writes (`evaluation.validation`).
    """
    rows = read_rows(kind, content, source)
    _check_rows(kind, rows, source, identity)
    return rows


def read_rows(kind: type[Record], content: bytes, source: str) -> list[Record]:
    """Return the rows as `from_parquet` does, whatever their values are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Read in this thread alone. `pq.read_table` scans a dataset, and so uses a thread of Arrow's pool even with
        # `use_threads=False`. Where that thread is the last to hold the buffer of `content`, it asks for Python's lock
        # to release it, and a process that ends meanwhile is aborted (github.com/apache/arrow/issues/33975). A Python
        # file in place of the buffer can make it hang (issue 50482).
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise RecordError(f"{source}: not a readable Parquet file ({error}); delete it and evaluate again") from error
    _check_schema(kind, table.schema, source)
    of_metrics = _metric_columns(kind)
    return [_row(kind, values, of_metrics) for values in table.to_pylist()]


def _check_rows(kind: type[Record], rows: Sequence[Any], source: str, identity: Mapping[str, str]) -> None:
    find_problem = validation.PROBLEMS[KINDS[kind]]
    for number, row in enumerate(rows):
        others = (f"{name} is {getattr(row, name)}" for name, value in identity.items() if getattr(row, name) != value)
        if problem := next(others, "") or find_problem(row):
            raise RecordError(f"{source}: row {number} is not used: {problem}; delete the file and evaluate again")
    # A report's file has the points of many trials.
    if kind is Point and "eval_id" in identity and (problem := validation.repeated(rows)):
        raise RecordError(f"{source} is not used: {problem}; delete it and evaluate again")


def _row(kind: type[Record], values: dict[str, Any], of_metrics: Mapping[str, Any]) -> Record:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if of_metrics:
        measured = {name: values.pop(name, None) for name in of_metrics}
        values["metrics"] = {name: value for name, value in measured.items() if value is not None}
    return kind(**values)


def _metric_columns(kind: type[Any]) -> Mapping[str, Any]:
    return COLUMNS if kind is Point else {}


def _values(kind: type[Any], rows: Sequence[Any], column: str) -> list[Any]:
    if column in _metric_columns(kind):
        return [point.metrics.get(column) for point in rows]
    return list(map(attrgetter(column), rows))


def _columns(kind: type[Any]) -> dict[str, Any]:
    """Return the annotation of each column."""
    hints = typing.get_type_hints(kind)
    hints.pop("metrics", None)
    return hints | {name: column_type | None for name, column_type in _metric_columns(kind).items()}


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it allowed None."""
    arguments = typing.get_args(hint)
    if type(None) not in arguments:
        return hint, False
    return next(argument for argument in arguments if argument is not type(None)), True


def _check_schema(kind: type[Any], found: pa.Schema, source: str) -> None:
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace") for key, value in (found.metadata or {}).items()
    }
    expected = schema(kind)
    version = metadata.get("mrvae.schema_version")
    if metadata.get("mrvae.kind") != KINDS[kind]:
        raise RecordError(f"{source}: contains {metadata.get('mrvae.kind', 'something else')}, not {KINDS[kind]}")
    # Columns with a default were added later and are null in older files.
    known = {column.name: column for column in expected}
    required = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    unlike = [name for name in found.names if name not in known or not found.field(name).equals(known[name])]
    unlike += sorted(required - set(found.names))
    if version != str(SCHEMA_VERSION) or unlike:
        what = f" (column {unlike[0]!r} is not as expected)" if unlike else ""
        raise RecordError(
            f"{source}: schema version {version}{what} cannot be read by this release (version {SCHEMA_VERSION}); "
            "evaluate the sweep again to rewrite it"
        )
