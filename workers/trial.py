"""What a trial is, and what makes two trials the same.

Nothing here imports torch: planning ten thousand trials must not pay for it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from models import registry as architectures
from workers.data import registry as datasets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.architecture import Architecture
    from workers.data.dataset import Dataset

NUMERICS = 1
"""Raised by hand whenever a change makes trials of the same settings end with other numbers."""

LIKELIHOODS = ("bernoulli", "squared-error", "categorical")
OBJECTIVES = ("beta-elbo", "beta-tcvae")
ANNEALINGS = ("constant", "monotonic", "cyclic")
ENCODER_GATES = ("sigmoid", "double-sigmoid")
DECODER_GATES = ("sqrt-relu", "sigmoid", "double-sigmoid")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
SPLITS = ("train", "validation", "test")
METRICS = (
    "active_units",
    "bits_per_dimension",
    "dci",
    "fid",
    "frechet_classifier",
    "importance_weighted_nll",
    "linear_probe",
    "mig",
    "mig_histogram",
    "mutual_information",
    "perplexity",
    "psnr",
)
LEAST_QUALITY_EXAMPLES = 10
"""One for each split of the Inception Score."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} is {value!r}; choose one of {', '.join(choices)}")


def _require_positive(name: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, f"{name} is {value:g}; it must be a finite number above 0")


@dataclass(frozen=True)
class Objective:
    """What is minimised, with the given likelihood.

    beta-elbo: distortion + β · rate. beta-tcvae: distortion + rate, with its total correlation β times as heavy,
    estimated by minibatch-weighted sampling (Chen et al. 2018).
    """

    likelihood: str = "bernoulli"
    name: str = "beta-elbo"

    def __post_init__(self) -> None:
        _require_choice("likelihood", self.likelihood, LIKELIHOODS)
        _require_choice("objective name", self.name, OBJECTIVES)


@dataclass(frozen=True)
class BetaVAE:
    """A plain VAE trained at one β, which KL annealing may reach gradually."""

    beta: float
    annealing: str = "constant"
    kind: ClassVar[str] = "beta-vae"

    def __post_init__(self) -> None:
        _require_positive("beta", self.beta)
        _require_choice("annealing", self.annealing, ANNEALINGS)
        object.__setattr__(self, "beta", float(self.beta))

    @property
    def trained_betas(self) -> tuple[float, ...]:
        """The β it is trained at."""
        return (self.beta,)


@dataclass(frozen=True)
class MultiRateVAE:
    """One gated network trained on log β ~ U(log low, log high), drawn per example (MR-VAE, Eq. 11)."""

    beta_low: float
    beta_high: float
    encoder_gate: str = "sigmoid"
    decoder_gate: str = "sqrt-relu"
    kind: ClassVar[str] = "mr-vae"

    def __post_init__(self) -> None:
        _require_positive("the lower end of the β range", self.beta_low)
        _require_positive("the upper end of the β range", self.beta_high)
        _require(
            self.beta_low < self.beta_high,
            f"the β range runs from {self.beta_low:g} to {self.beta_high:g}; the first must be the smaller",
        )
        _require_choice("encoder_gate", self.encoder_gate, ENCODER_GATES)
        _require_choice("decoder_gate", self.decoder_gate, DECODER_GATES)
        object.__setattr__(self, "beta_low", float(self.beta_low))
        object.__setattr__(self, "beta_high", float(self.beta_high))

    @property
    def trained_betas(self) -> tuple[float, ...]:
        """The two ends of the range it is trained on."""
        return (self.beta_low, self.beta_high)


Method = BetaVAE | MultiRateVAE
METHODS: Mapping[str, type[Method]] = {BetaVAE.kind: BetaVAE, MultiRateVAE.kind: MultiRateVAE}


@dataclass(frozen=True)
class Training:
    """How a trial is trained. Everything here changes the numbers, so all of it is identity.

    `threads` is the number of CPU threads torch may use: on a CPU the same bits come out at the same
    thread count only, so the trial fixes it, not the machine. `clip_norm` is the largest norm that the gradient of
    all parameters together may have; a longer one is scaled down to it, and 0 leaves it as it is.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: int = 0
    schedule: str = "cosine"
    precision: str = "float32"
    channels_last: bool = False
    clip_norm: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be 1 or more")
        _require_positive("learning_rate", self.learning_rate)
        _require(
            0 <= self.warmup_epochs < self.epochs,
            f"warmup_epochs is {self.warmup_epochs}; it must be 0 or more and below epochs ({self.epochs})",
        )
        _require_choice("schedule", self.schedule, SCHEDULES)
        _require_choice("precision", self.precision, PRECISIONS)
        _require(
            math.isfinite(self.clip_norm) and self.clip_norm >= 0,
            f"clip_norm is {self.clip_norm:g}; it must be 0 (no clipping) or more",
        )
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        object.__setattr__(self, "clip_norm", float(self.clip_norm))


@dataclass(frozen=True)
class Trial:
    """One training run. Its identity is everything that decides the trained numbers, and nothing else."""

    dataset: Dataset
    architecture: Architecture
    objective: Objective
    method: Method
    training: Training
    seed: int

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}; it must be between 0 and 2^63 - 1")

    def to_json(self) -> dict[str, Any]:
        """Return the complete identity as plain JSON values."""
        return {
            "numerics": NUMERICS,
            "dataset": {"name": self.dataset.name, **_fields(self.dataset)},
            "architecture": {"name": self.architecture.name, **_fields(self.architecture)},
            "objective": _fields(self.objective),
            "method": {"kind": self.method.kind, **_fields(self.method)},
            "training": _fields(self.training),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Trial:
        """Rebuild a trial from `to_json`. Raises ValueError where the record is not one of this version."""
        if record.get("numerics") != NUMERICS:
            raise ValueError(
                f"the trial was planned with numerics version {record.get('numerics')}; this is version {NUMERICS}"
            )
        method = dict(record["method"])
        return cls(
            dataset=datasets.configure(**record["dataset"]),
            architecture=architectures.configure(**record["architecture"]),
            objective=Objective(**record["objective"]),
            method=METHODS[method.pop("kind")](**method),
            training=Training(**record["training"]),
            seed=record["seed"],
        )

    @property
    def trial_id(self) -> str:
        """The sha256 of the canonical JSON: 64 hexadecimal digits."""
        return _digest(self.to_json())


@dataclass(frozen=True)
class Evaluation:
    """What is measured on a trained model. Its identity is apart from the trial's: asking for more never retrains.

    `betas` are the operating points; a β-VAE is measured at its own β whatever they are. `limit` is the number of
    examples of the `split` to measure on, the first ones; 0 takes all. `importance_samples` is how many draws each
    example has for its importance-weighted likelihood. `quality_examples` is how many images are generated, and how
    many real ones at most they are compared with, for FID and the like.
    """

    betas: tuple[float, ...]
    split: str = "test"
    metrics: tuple[str, ...] = ("active_units",)
    active_units_delta: float = 0.01
    pictures: int = 10
    limit: int = 0
    importance_samples: int = 100
    quality_examples: int = 10_000

    def __post_init__(self) -> None:
        _require(len(self.betas) > 0, "betas is empty; name at least one β to evaluate at")
        for beta in self.betas:
            _require_positive("β", beta)
        _require_choice("split", self.split, SPLITS)
        for metric in self.metrics:
            _require_choice("metric", metric, METRICS)
        _require_positive("active_units_delta", self.active_units_delta)
        _require(0 <= self.pictures <= 64, f"pictures is {self.pictures}; it must be between 0 and 64")  # noqa: PLR2004 (stated in the message)
        _require(self.limit >= 0, f"limit is {self.limit}; it must be 0 (all) or more")
        _require(self.importance_samples >= 1, f"importance_samples is {self.importance_samples}; it must be 1 or more")
        _require(
            self.quality_examples >= LEAST_QUALITY_EXAMPLES,
            f"quality_examples is {self.quality_examples}; it must be {LEAST_QUALITY_EXAMPLES} or more",
        )
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        object.__setattr__(self, "metrics", tuple(sorted(set(self.metrics))))

    def for_method(self, method: Method) -> Evaluation:
        """Return the evaluation that this method can have: a β-VAE has one operating point, its own β."""
        betas = self.betas if isinstance(method, MultiRateVAE) else method.trained_betas
        return Evaluation(**{**_fields(self), "betas": betas})

    def to_json(self) -> dict[str, Any]:
        """Return the identity as plain JSON values."""
        return {"numerics": NUMERICS, **_fields(self)}

    @property
    def eval_id(self) -> str:
        """The first 16 hexadecimal digits of the sha256 of the canonical JSON."""
        return _digest(self.to_json())[:16]


@dataclass(frozen=True)
class Along:
    """What is measured while a trial trains: rate and distortion after 1/2, 1/4, 1/8 … of its epochs, so many times.

    Not identity: it changes nothing of the trained model, and a finished trial cannot be measured so any more.
    """

    times: int
    evaluation: Evaluation

    def epochs(self, of: int) -> frozenset[int]:
        """Return after how many epochs of a training it is measured; never after the last."""
        return frozenset(range(1, of)) & {round(of / 2**halving) for halving in range(1, self.times + 1)}


@dataclass(frozen=True)
class Resources:
    """What a trial holds while it runs. Not identity: the same trial on other hardware is the same trial.

    `cpus`, `gpus` and `memory_gib` are what each of its `ranks` holds: processes that share every batch (DDP).
    `gpu_kind` is Ray's name of an accelerator, such as "H200"; empty takes any. `least_ranks` is how few ranks it
    may go on with after some were lost; 0 means that it needs them all.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gib: float = 0.0
    gpu_kind: str = ""
    ranks: int = 1
    least_ranks: int = 0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "memory_gib"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"{name} is {value:g}; it must be 0 or more")
        _require(self.cpus > 0 or self.gpus > 0, "a trial needs some CPU or GPU to run on; cpus and gpus are 0")
        _require(self.ranks >= 1, f"ranks is {self.ranks}; it must be 1 or more")
        _require(
            0 <= self.least_ranks <= self.ranks,
            f"least_ranks is {self.least_ranks}; it must be between 0 (all of them) and ranks ({self.ranks})",
        )
        _require(
            self.ranks == 1 or self.gpus == int(self.gpus),
            f"gpus is {self.gpus:g}; each of several ranks needs whole GPUs, or none",
        )
        _require(not self.gpu_kind or self.gpus > 0, "gpu_kind is set, but gpus is 0; set gpus too")


def _fields(instance: Any) -> dict[str, Any]:
    # Much faster than dataclasses.asdict, which copies; the configurations here are flat.
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _digest(record: Mapping[str, Any]) -> str:
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
