"""The three record kinds (points, history, costs), their Parquet schemas, and reading and writing them.

Any Parquet reader can query the files; each carries its kind and schema version in the file's metadata.
"""

from __future__ import annotations

import io
import typing
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1


class RecordError(Exception):
    """A Parquet file is not one of ours, is damaged, or has a schema version this release cannot read."""


@dataclass(frozen=True)
class Point:
    """One operating point: one β (or one per latent layer) of one trained model, with what was measured there.

    Rates are in nats per example. Distortion is per example, in `distortion_unit`: "nats" for a Bernoulli
    likelihood, "sse" for the summed squared error. `elbo` is -(distortion + rate), the evidence lower bound at
    β = 1; for "sse" it is the bound of a Gaussian with σ² = 1/2 up to a constant of the data's dimension.
    `examples` and `posterior_samples` say what the means were taken over. Metrics that were not asked for are null.
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
    betas: tuple[float, ...]
    rates_nats: tuple[float, ...]
    rate_nats: float
    distortion: float
    distortion_unit: str
    elbo: float
    examples: int
    posterior_samples: int
    active_units: int | None = None
    active_units_delta: float | None = None
    latent_units: int | None = None
    bits_per_dimension: float | None = None
    psnr_db: float | None = None
    perplexity: float | None = None
    unit_variances: tuple[float, ...] | None = None
    mutual_information_nats: float | None = None
    mutual_information_cap_nats: float | None = None
    nll_nats: float | None = None
    nll_samples: int | None = None
    mig: float | None = None
    mig_estimator: str | None = None
    mig_examples: int | None = None
    mig_histogram: float | None = None
    mig_histogram_examples: int | None = None
    dci_disentanglement: float | None = None
    dci_completeness: float | None = None
    dci_informativeness: float | None = None
    dci_estimator: str | None = None
    probe_accuracy: float | None = None
    probe_chance: float | None = None
    probe_estimator: str | None = None
    fid: float | None = None
    kid: float | None = None
    inception_score: float | None = None
    inception_extractor: str | None = None
    inception_preparation: str | None = None
    inception_reference_split: str | None = None
    inception_examples: int | None = None
    inception_reference_examples: int | None = None
    inception_features: int | None = None
    inception_kernel_std: float | None = None
    inception_score_std: float | None = None
    frechet_classifier: float | None = None
    kernel_classifier: float | None = None
    score_classifier: float | None = None
    classifier_extractor: str | None = None
    classifier_preparation: str | None = None
    classifier_reference_split: str | None = None
    classifier_examples: int | None = None
    classifier_reference_examples: int | None = None
    classifier_features: int | None = None
    classifier_kernel_std: float | None = None
    classifier_score_std: float | None = None
    classifier_test_accuracy: float | None = None

    @property
    def beta(self) -> float:
        """The β of a model with a single latent layer."""
        return self.betas[0]


@dataclass(frozen=True)
class HistoryRow:
    """One epoch of training, averaged over its examples (over the sampled β too, for a multi-rate model).

    `beta_weight` is the factor in [0, 1] that KL annealing put on β; `loss` is distortion + weight · β · rate.
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
    """What one phase of one attempt at a trial cost; failed and interrupted attempts have rows too.

    `phase` is train, evaluate (rate and distortion), metrics (whatever else is measured, and pictures), along
    (evaluation during training), compile, data or checkpoint. `outcome` is that of the attempt: done, failed,
    interrupted, or running while it lasts (what a later attempt finds so was killed, and becomes "killed").
    `flops` counts a multiply-add as two, forward and backward, as torch's counter sees them (elementwise work is
    not seen); null where the phase does no counted work. `joules` is what the boards held have used, idle power
    included; their counter moves every 20 to 100 ms, so a short phase's is rough. It is null where the device does not
    tell: on a CPU, and where only a part of a GPU is held. `measured_share`, of an attempt that holds a part of a GPU,
    is its share of the work that the GPU did meanwhile, as the driver samples it about every second: that of the
    phase, or of the whole attempt where the phase was too short for a sample; null where the device does not tell.
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

    @property
    def shared(self) -> bool:
        """Whether a part of a device was held."""
        return not float(self.device_count).is_integer()

    @property
    def device_seconds(self) -> float:
        """Seconds × devices; of a shared device × the share of it that was measured, or else that was held."""
        return self.seconds * (self.device_count if self.measured_share is None else self.measured_share)


Record = TypeVar("Record", Point, HistoryRow, Cost)

KINDS: dict[type[Any], str] = {Point: "points", HistoryRow: "history", Cost: "costs"}
_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[float, ...]: pa.list_(pa.float64()),
}


def schema(kind: type[Any]) -> pa.Schema:
    """Return the Arrow schema of Point, HistoryRow or Cost; columns are nullable exactly where None is allowed."""
    hints = typing.get_type_hints(kind)
    columns = [_column(field.name, hints[field.name]) for field in fields(kind)]
    metadata = {"mrvae.kind": KINDS[kind], "mrvae.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(columns, metadata=metadata)


def to_table(kind: type[Record], rows: Sequence[Record]) -> pa.Table:
    """Return the rows as an Arrow table with the kind's schema."""
    # By column, which is several times as fast as by row: a report writes hundreds of thousands.
    columns = schema(kind)
    arrays = [pa.array(list(map(attrgetter(column.name), rows)), column.type) for column in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


def to_parquet(kind: type[Record], rows: Sequence[Record]) -> bytes:
    """Return the rows as the bytes of a Parquet file."""
    return parquet_bytes(to_table(kind, rows))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file, compressed as all of ours are."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_parquet(kind: type[Record], content: bytes, source: str) -> list[Record]:
    """Return the rows of a Parquet file; `source` names it in errors.

    Raises:
        RecordError: the bytes are no Parquet file, of another kind, or of another schema version.
    """
    try:
        # Arrow's threads and Python's own file objects are not used: a process that ends soon after is aborted at its
        # end with them, or never ends (github.com/apache/arrow/issues/33975 and 50482).
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise RecordError(f"{source}: not a readable Parquet file ({error}); delete it and evaluate again") from error
    _check_schema(kind, table.schema, source)
    list_columns = [name for name, hint in typing.get_type_hints(kind).items() if "tuple[" in str(hint)]
    return [_row(kind, values, list_columns) for values in table.to_pylist()]


def _row(kind: type[Record], values: dict[str, Any], list_columns: list[str]) -> Record:
    for name in list_columns:
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    return kind(**values)


def _column(name: str, hint: Any) -> pa.Field:
    arguments = typing.get_args(hint)
    nullable = type(None) in arguments
    inner = next(argument for argument in arguments if argument is not type(None)) if nullable else hint
    return pa.field(name, _ARROW_TYPES[inner], nullable=nullable)


def _check_schema(kind: type[Any], found: pa.Schema, source: str) -> None:
    metadata = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    expected = schema(kind)
    version = metadata.get("mrvae.schema_version")
    if metadata.get("mrvae.kind") != KINDS[kind]:
        raise RecordError(f"{source}: holds {metadata.get('mrvae.kind', 'something else')}, not {KINDS[kind]}")
    # A column that came later, and so has a default, is null in what was written before.
    known = {column.name: column for column in expected}
    required = {field.name for field in fields(kind) if field.default is MISSING}
    unlike = [name for name in found.names if name not in known or not found.field(name).equals(known[name])]
    unlike += sorted(required - set(found.names))
    if version != str(SCHEMA_VERSION) or unlike:
        what = f" (column {unlike[0]!r} is not as expected)" if unlike else ""
        raise RecordError(
            f"{source}: schema version {version}{what} cannot be read by this release (version {SCHEMA_VERSION}); "
            "evaluate the sweep again to rewrite it"
        )
