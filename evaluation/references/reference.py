"""References for equivalence checks: the curves of a published figure or of a recorded sweep, one JSON file each."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from evaluation.curves import RatePoint, lower_envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
KINDS = ("published", "recorded")
UNITS = ("nats", "sse")
PACKAGED = Path(__file__).parent
_NAME = re.compile(r"(?!\.{1,2}$)(?!.*\.json$)[A-Za-z0-9._-]{1,80}")
_PAIR = re.compile(r"\[\n\s+(\S+),\n\s+(\S+)\n\s+\]")
"""A list of two in indented JSON. JSON texts contain no line ends, so that none matches."""
_KEYS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "reference": {
        "format": (int,),
        "name": (str,),
        "kind": (str,),
        "source": (str,),
        "commit": (str,),
        "date": (str,),
        "caveats": (list,),
        "distortion_unit": (str,),
        "split": (str,),
        "examples": (int,),
        "scaled": (str, type(None)),
        "tolerance": (dict,),
        "settings": (dict,),
        "curves": (list,),
    },
    "tolerance": {"curve": (float, int, type(None)), "difference": (float, int), "reason": (str,)},
    "curve": {"name": (str,), "settings": (dict,), "seeds": (list,)},
    "seed": {"seed": (int, type(None)), "trial_ids": (list,), "points": (list,)},
}
_WORDS = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list", type(None): "null"}


class ReferenceFileError(Exception):
    """A file is not a reference of this format; the message names the file, the place and the cause."""


@dataclass(frozen=True)
class ReferenceSeed:
    """One measured curve: (rate, distortion) pairs, per example, at two different rates or more.

    A curve of a figure has no seed (None) and no trials.
    """

    seed: int | None
    trial_ids: tuple[str, ...]
    points: tuple[RatePoint, ...]


@dataclass(frozen=True)
class ReferenceCurve:
    """A method's curve for each seed. `settings` are those of its trials that differ from the other curves'."""

    name: str
    settings: Mapping[str, str]
    seeds: tuple[ReferenceSeed, ...]


@dataclass(frozen=True)
class Tolerance:
    """The largest distance from the reference at which a sweep agrees with it, in the unit of distortion.

    `curve` is for the distance of a curve; None where the reference's absolute values are unreliable. `difference` is
    for the difference between two methods, in which common errors cancel.
    """

    curve: float | None
    difference: float
    reason: str


@dataclass(frozen=True)
class Reference:
    """Curves, with everything that a comparison needs.

    `settings` are common to all trials, by dotted name and as text; `examples` is the number of measured examples of
    `split`. `commit` is the code's, and `date` the day of the figure or of the recording. `scaled` names the scale of a
    recorded sweep.
    """

    name: str
    kind: str
    source: str
    commit: str
    date: str
    caveats: tuple[str, ...]
    distortion_unit: str
    split: str
    examples: int
    scaled: str | None
    tolerance: Tolerance
    settings: Mapping[str, str]
    curves: tuple[ReferenceCurve, ...]

    def settings_of(self, curve: ReferenceCurve) -> dict[str, str]:
        """Return the settings of a curve's trials."""
        return {**self.settings, **curve.settings}

    @property
    def trial_ids(self) -> frozenset[str]:
        """The trials of the recorded sweep."""
        return frozenset(name for curve in self.curves for seed in curve.seeds for name in seed.trial_ids)

    def to_bytes(self) -> bytes:
        """Return the reference as JSON, with one point on each line."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False)
        return (_PAIR.sub(r"[\1, \2]", text) + "\n").encode()


def check_name(name: str) -> None:
    """Raise ValueError where a name is not allowed; a reference's name is also a file name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not an allowed name of a reference; use 1 to 80 letters, digits, '.', '_' or '-', neither "
            "'.' nor '..', and no '.json' at the end"
        )


def packaged_names() -> list[str]:
    """Return the names of the published references in this package."""
    return sorted(path.stem for path in PACKAGED.glob("*.json"))


def read_packaged(name: str) -> Reference:
    """Return a published reference by its name, one of `packaged_names`."""
    path = PACKAGED / f"{name}.json"
    return from_bytes(path.read_bytes(), str(path))


def from_bytes(content: bytes, source: str) -> Reference:
    """Return the reference in a file; `source` names it in errors.

    Raises:
        ReferenceFileError: it is not JSON, or not a complete and consistent reference of this format.
    """
    try:
        return _reference(json.loads(content, parse_constant=_refuse_constant))
    except (ValueError, OverflowError, RecursionError) as error:
        raise ReferenceFileError(f"{source}: not a reference: {error}; record it again, or correct the file") from error


def _reference(record: Any) -> Reference:
    _check_keys(record, "reference", "the file")
    if record.pop("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT}, which this release reads")
    check_name(record["name"])
    _check_choice("kind", record["kind"], KINDS)
    _check_choice("distortion_unit", record["distortion_unit"], UNITS)
    if record["examples"] < 1:
        raise ValueError(f"examples is {record['examples']}; it must be 1 or more")
    return Reference(
        **{
            **record,
            "caveats": _texts(record["caveats"], "caveats"),
            "tolerance": _tolerance(record["tolerance"]),
            "settings": _settings(record["settings"], "settings"),
            "curves": _curves(record["curves"]),
        }
    )


def _tolerance(record: Any) -> Tolerance:
    _check_keys(record, "tolerance", "tolerance")
    for key in ("curve", "difference"):
        value = record[key]
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"tolerance.{key} is {value:g}; it must be above 0")
    return Tolerance(**record)


def _curves(records: list[Any]) -> tuple[ReferenceCurve, ...]:
    curves = tuple(_curve(record, f"curves[{index}]") for index, record in enumerate(records))
    if not curves:
        raise ValueError("curves is empty; a reference has one or more")
    names = [curve.name for curve in curves]
    if len(set(names)) < len(names):
        raise ValueError(f"curves have names in common: {', '.join(names)}")
    return curves


def _curve(record: Any, where: str) -> ReferenceCurve:
    _check_keys(record, "curve", where)
    seeds = tuple(_seed(seed, f"{where}.seeds[{index}]") for index, seed in enumerate(record["seeds"]))
    if not seeds:
        raise ValueError(f"{where}.seeds is empty; a curve has one or more")
    numbers = [seed.seed for seed in seeds]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{where}.seeds has a seed more than once")
    return ReferenceCurve(record["name"], _settings(record["settings"], f"{where}.settings"), seeds)


def _seed(record: Any, where: str) -> ReferenceSeed:
    _check_keys(record, "seed", where)
    points = tuple(_point(pair, f"{where}.points[{index}]") for index, pair in enumerate(record["points"]))
    if len(lower_envelope(points)) < 2:  # noqa: PLR2004 (a line has two ends)
        raise ValueError(f"{where}.points must be at two different rates or more")
    return ReferenceSeed(record["seed"], _texts(record["trial_ids"], f"{where}.trial_ids"), points)


def _point(pair: Any, where: str) -> RatePoint:
    numbers = isinstance(pair, list) and all(isinstance(value, (int, float)) for value in pair)
    if not numbers or len(pair) != 2 or not all(map(math.isfinite, pair)):  # noqa: PLR2004 (stated in the message)
        raise ValueError(f"{where} is {pair!r}; it must be two finite numbers, rate and distortion")
    return float(pair[0]), float(pair[1])


def _check_keys(record: Any, part: str, where: str) -> None:
    known = _KEYS[part]
    if not isinstance(record, dict):
        raise ValueError(f"{where} must be an object")  # noqa: TRY004 (one error for everything that can be wrong in a file)
    for key in known:
        if key not in record:
            raise ValueError(f"{where} has no {key!r}")
    for key, value in record.items():
        if key not in known:
            raise ValueError(f"{where} has an unknown key {key!r}; there are {', '.join(known)}")
        if type(value) not in known[key]:
            raise ValueError(f"{key!r} of {where} must be {' or '.join(_WORDS[kind] for kind in known[key])}")


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key} is {value!r}; it must be {' or '.join(choices)}")


def _settings(record: Mapping[str, Any], where: str) -> dict[str, str]:
    for key, value in record.items():
        if not isinstance(value, str):
            raise ValueError(f"{where}[{key!r}] must be text, as in a report's trials.csv")  # noqa: TRY004 (as above)
    return dict(record)


def _texts(values: list[Any], where: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{where} must be texts")
    return tuple(values)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")
