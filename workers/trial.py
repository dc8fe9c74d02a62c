"""Trials, their evaluations and their identities. Imports no torch, because planning does not need it.

Users see the annotations of the options: the JSON Schema of a spec has their choices and descriptions.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from typing_extensions import Doc

from evaluation.metrics.catalogue import CATALOGUE
from models.architectures import registry as architectures
from models.options import check_choices, identity
from workers.data import registry as datasets
from workers.numerics import NUMERICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evaluation.operating_points import Betas
    from models.architecture import Architecture
    from workers.data.dataset import Dataset

Annealing = Literal["constant", "monotonic", "cyclic"]
EncoderGate = Literal["sigmoid", "double-sigmoid"]
DecoderGate = Literal["sqrt-relu", "sigmoid", "double-sigmoid"]
METRICS = tuple(sorted(CATALOGUE))
MIN_QUALITY_EXAMPLES = 10
"""One image for each split of the Inception Score."""
MOST_PICTURES = 64


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_positive(name: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, f"{name} is {value:g}; it must be a finite number above 0")


def _require_amount(name: str, value: float) -> None:
    _require(math.isfinite(value) and value >= 0, f"{name} is {value:g}; it must be 0 or more")


@dataclass(frozen=True)
class Objective:
    """The loss that training minimises.

    beta-elbo is distortion + β · rate. beta-tcvae is distortion + rate, where the total correlation, a part of the
    rate, is multiplied by β; it is estimated by minibatch-weighted sampling (Chen et al. 2018).
    """

    likelihood: Annotated[
        Literal["bernoulli", "squared-error", "categorical"],
        Doc(
            "The model p(x|z) of a pixel or, if categorical, of a word. The distortion is -log p(x|z) or squared error."
        ),
    ] = "bernoulli"
    name: Annotated[
        Literal["beta-elbo", "beta-tcvae"],
        Doc("The term that β multiplies: the whole rate (beta-elbo) or its total correlation (beta-tcvae)."),
    ] = "beta-elbo"

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True)
class BetaVAE:
    """A plain VAE trained at one β, to which KL annealing may increase the weight gradually."""

    beta: float
    annealing: Annealing = "constant"
    kind: ClassVar[str] = "beta-vae"

    def __post_init__(self) -> None:
        _require_positive("beta", self.beta)
        check_choices(self)
        object.__setattr__(self, "beta", float(self.beta))

    @property
    def trained_betas(self) -> tuple[Betas, ...]:
        """The operating point of its training."""
        return ((self.beta,),)


@dataclass(frozen=True)
class MultiRateVAE:
    """One gated network trained on log β ~ U(log low, log high), drawn per example (MR-VAE, Eq. 11)."""

    beta_low: float
    beta_high: float
    encoder_gate: EncoderGate = "sigmoid"
    decoder_gate: DecoderGate = "sqrt-relu"
    kind: ClassVar[str] = "mr-vae"

    def __post_init__(self) -> None:
        _require_positive("the lower end of the β range", self.beta_low)
        _require_positive("the upper end of the β range", self.beta_high)
        _require(
            self.beta_low < self.beta_high,
            f"the β range is {self.beta_low:g} to {self.beta_high:g}; the first value must be the smaller one",
        )
        check_choices(self)
        object.__setattr__(self, "beta_low", float(self.beta_low))
        object.__setattr__(self, "beta_high", float(self.beta_high))

    @property
    def trained_betas(self) -> tuple[Betas, ...]:
        """The two ends of its training range."""
        return ((self.beta_low,), (self.beta_high,))


Method = BetaVAE | MultiRateVAE
METHODS: Mapping[str, type[Method]] = {BetaVAE.kind: BetaVAE, MultiRateVAE.kind: MultiRateVAE}


@dataclass(frozen=True)
class Training:
    """Options of training. All of them change the numbers, so all are part of a trial's identity."""

    epochs: Annotated[int, Doc("Number of passes over the training data.")]
    batch_size: Annotated[int, Doc("Examples per training step, over all ranks together.")] = 128
    learning_rate: Annotated[float, Doc("The learning rate of Adam after warm-up.")] = 1e-3
    warmup_epochs: Annotated[int, Doc("Epochs of linear warm-up of the learning rate, fewer than `epochs`.")] = 0
    schedule: Annotated[
        Literal["constant", "cosine"],
        Doc("The learning rate after warm-up: constant, or falling to about 0 along half a cosine."),
    ] = "cosine"
    precision: Annotated[
        Literal["float32", "bfloat16"], Doc("Precision of the forward pass; bfloat16 is mixed precision.")
    ] = "float32"
    channels_last: Annotated[bool, Doc("Store channels last in memory, which is faster for some convolutions.")] = False
    clip_norm: Annotated[
        float, Doc("Largest norm of the whole gradient; longer ones are scaled down. 0: no limit.")
    ] = 0.0
    threads: Annotated[int, Doc("CPU threads of PyTorch. On a CPU, results depend on their number.")] = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be 1 or more")
        _require_positive("learning_rate", self.learning_rate)
        _require(
            0 <= self.warmup_epochs < self.epochs,
            f"warmup_epochs is {self.warmup_epochs}; it must be 0 or more and below epochs ({self.epochs})",
        )
        check_choices(self)
        _require(
            math.isfinite(self.clip_norm) and self.clip_norm >= 0,
            f"clip_norm is {self.clip_norm:g}; it must be 0 (no clipping) or more",
        )
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        object.__setattr__(self, "clip_norm", float(self.clip_norm))


def _method(record: Mapping[str, Any]) -> Method:
    options = dict(record)
    return METHODS[options.pop("kind")](**options)


TRIAL_PARTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "dataset": lambda record: datasets.configure(**record),
    "architecture": lambda record: architectures.configure(**record),
    "objective": lambda record: Objective(**record),
    "method": _method,
    "training": lambda record: Training(**record),
}
"""How each part of a trial is made of its `part_record`."""


def part_record(name: str, part: Any) -> dict[str, Any]:
    """Return the part of a trial of that name as plain JSON values: its options, and what says which options it has."""
    word = {"dataset": "name", "architecture": "name", "method": "kind"}.get(name)
    return {**({word: getattr(part, word)} if word else {}), **identity(part)}


@dataclass(frozen=True)
class Trial:
    """One training run. Its identity is everything that determines the trained weights, and nothing else.

    `numerics` is the version of the numbers that it was planned with; only trials of this release's version can run.
    """

    dataset: Dataset
    architecture: Architecture
    objective: Objective
    method: Method
    training: Training
    seed: int
    numerics: int = NUMERICS

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}; it must be between 0 and 2^63 - 1")

    def to_json(self) -> dict[str, Any]:
        """Return the complete identity as plain JSON values."""
        return {
            "numerics": self.numerics,
            **{name: part_record(name, getattr(self, name)) for name in TRIAL_PARTS},
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Trial:
        """Return the trial of a record of `to_json`.

        Raises KeyError, TypeError or ValueError where this release, or a plug-in, has no such trial.
        """
        parts = {name: build(record[name]) for name, build in TRIAL_PARTS.items()}
        return cls(**parts, seed=record["seed"], numerics=record["numerics"])

    def check_numerics(self) -> None:
        """Raise ValueError where this release trains and evaluates with numbers of another version."""
        if self.numerics != NUMERICS:
            raise ValueError(
                f"the trial was planned with numerics version {self.numerics}; this release has version {NUMERICS}"
            )

    @property
    def trial_id(self) -> str:
        """The sha256 of the canonical JSON: 64 hexadecimal digits."""
        return _digest(self.to_json())


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The metrics of a trained model at each β, and the examples to compute them on."""

    split: Annotated[Literal["train", "validation", "test"], Doc("The part of the data to evaluate on.")] = "test"
    metrics: tuple[str, ...] = ("active_units",)
    active_units_delta: Annotated[float, Doc("Variance of its posterior mean above which a latent is active.")] = 0.01
    pictures: Annotated[int, Doc(f"Samples and reconstructions to keep for each β, at most {MOST_PICTURES}.")] = 10
    limit: Annotated[int, Doc("Number of examples to evaluate on, the first ones; 0: all.")] = 0
    importance_samples: Annotated[int, Doc("Importance samples per example for importance_weighted_nll.")] = 100
    quality_examples: Annotated[
        int,
        Doc(f"Generated images, and at most as many real ones, for fid and the like; {MIN_QUALITY_EXAMPLES} or more."),
    ] = 10_000

    def __post_init__(self) -> None:
        check_choices(self)
        for metric in self.metrics:
            _require(metric in METRICS, f"metrics has {metric!r}; choose from {', '.join(METRICS)}")
        _require_positive("active_units_delta", self.active_units_delta)
        _require(
            0 <= self.pictures <= MOST_PICTURES,
            f"pictures is {self.pictures}; it must be between 0 and {MOST_PICTURES}",
        )
        _require(self.limit >= 0, f"limit is {self.limit}; it must be 0 (all) or more")
        _require(self.importance_samples >= 1, f"importance_samples is {self.importance_samples}; it must be 1 or more")
        _require(
            self.quality_examples >= MIN_QUALITY_EXAMPLES,
            f"quality_examples is {self.quality_examples}; it must be {MIN_QUALITY_EXAMPLES} or more",
        )


@dataclass(frozen=True)
class Evaluation(EvaluationOptions):
    """An evaluation of a trained model. Its identity is separate from the trial's: a new one needs no training.

    `betas` are the operating points, one number each; with one β per latent layer, each would be a tuple of numbers,
    and a list in the JSON. A β-VAE is evaluated at the β of its training.
    """

    betas: tuple[float, ...]
    numerics: int = NUMERICS

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.betas) > 0, "betas is empty; give at least one β to evaluate at")
        for beta in self.betas:
            _require_positive("β", beta)
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        object.__setattr__(self, "metrics", tuple(sorted(set(self.metrics))))

    @property
    def operating_points(self) -> tuple[Betas, ...]:
        """The β of each operating point."""
        return tuple((beta,) for beta in self.betas)

    def for_method(self, method: Method) -> Evaluation:
        """Return the evaluation for a method: for a β-VAE, at the β of its training."""
        betas = self.betas if isinstance(method, MultiRateVAE) else (method.beta,)
        return replace(self, betas=betas)

    def to_json(self) -> dict[str, Any]:
        """Return the identity as plain JSON values."""
        return identity(self)

    @property
    def eval_id(self) -> str:
        """The first 16 hexadecimal digits of the sha256 of the canonical JSON."""
        return _digest(self.to_json())[:16]


@dataclass(frozen=True)
class IntermediateEvaluation:
    """Evaluations during training: rate and distortion after 1/2, 1/4, 1/8 … of the epochs, `times` of them.

    They are not part of a trial's identity, because they do not change the trained model. A finished trial cannot get
    further ones.
    """

    times: int
    evaluation: Evaluation

    def epochs(self, of: int) -> frozenset[int]:
        """Return the numbers of epochs after which the trial is evaluated, without the last one."""
        return frozenset(range(1, of)) & {round(of / 2**halving) for halving in range(1, self.times + 1)}


@dataclass(frozen=True, kw_only=True)
class ResourceOptions:
    """Resources of a trial, except CPUs. They are not part of its identity: on other hardware it is the same trial.

    `gpus` and `memory_gib` are for each rank, that is, each of the processes that share every batch (DDP).
    """

    gpus: Annotated[float, Doc("GPUs for each rank; a fraction shares one GPU.")] = 0.0
    memory_gib: Annotated[float, Doc("Memory reserved for each rank, in GiB; 0: none.")] = 0.0
    gpu_kind: Annotated[str, Doc("The type of GPU required, as Ray names it, such as H200; empty: any.")] = ""
    ranks: Annotated[int, Doc("Processes that train one trial and share every batch (DDP).")] = 1
    min_ranks: Annotated[int, Doc("Fewest ranks with which a trial may continue after losing some; 0: all.")] = 0

    def __post_init__(self) -> None:
        for name in ("gpus", "memory_gib"):
            _require_amount(name, getattr(self, name))
        _require(self.ranks >= 1, f"ranks is {self.ranks}; it must be 1 or more")
        _require(
            0 <= self.min_ranks <= self.ranks,
            f"min_ranks is {self.min_ranks}; it must be between 0 (all of them) and ranks ({self.ranks})",
        )
        _require(
            self.ranks == 1 or self.gpus == int(self.gpus),
            f"gpus is {self.gpus:g}; with several ranks, each needs whole GPUs or none",
        )
        _require(not self.gpu_kind or self.gpus > 0, "gpu_kind is set, but gpus is 0; set gpus too")

    def rank_devices(self, training: Training) -> float:
        """Return the devices of one rank for device-seconds: its GPUs, or without GPUs one CPU core per thread.

        See docs/decisions/device-seconds.md.
        """
        return self.gpus or float(training.threads)

    def device_count(self, training: Training) -> float:
        """Return the devices of all ranks: a trial's device-seconds are these times its seconds."""
        return self.ranks * self.rank_devices(training)


@dataclass(frozen=True, kw_only=True)
class Resources(ResourceOptions):
    """Resources of a trial, with the CPUs of each rank."""

    cpus: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_amount("cpus", self.cpus)
        _require(self.cpus > 0 or self.gpus > 0, "cpus and gpus are 0; a trial needs a CPU or a GPU to run on")


def _digest(record: Mapping[str, Any]) -> str:
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
