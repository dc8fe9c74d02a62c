"""Checks a spec: keys and types by its sections (`section.py`), then what must hold between the sections."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evaluation.metrics.catalogue import CATALOGUE, Need
from models.architectures.registry import ARCHITECTURES
from orchestrator.errors import hint
from orchestrator.spec import grid
from orchestrator.spec.model import VARIED, SweepSpec
from orchestrator.spec.section import at_key, moved, named_first, problem, refusal
from workers.data.dataset import ImageDataset
from workers.trial import BetaVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic_core import InitErrorDetails

    from models.architecture import Architecture
    from orchestrator.spec.methods import MethodSection
    from orchestrator.spec.section import Location
    from workers.data.dataset import Dataset
    from workers.trial import Objective

MOST_TRIALS = 100_000

_ELSEWHERE = {
    "seeds": "every trial runs with every seed; list them under 'seeds'",
    "methods": "every method runs at every point of the grid; list them under 'methods'",
    "evaluation": "a trained model is evaluated once, at every β of 'evaluation.betas'",
    "resources": "resources change no result; give them once, under 'resources'",
    "priority": "a sweep has one priority",
    "retries": "retries change no result; give them once, under 'retries'",
    "budget": "a sweep has one budget",
    "notify": "a sweep sends one notification when it ends",
    "dataset.name": "a sweep has one dataset; write one spec for each",
    "architecture.name": "a sweep has one architecture; write one spec for each",
}


def validated(content: Any) -> SweepSpec:
    """Return the spec of plain data. Raises pydantic's ValidationError with every problem."""
    spec = SweepSpec.model_validate(_with_tuples(content))
    if problems := problems_of(spec):
        raise refusal(problems)
    return spec


def _with_tuples(content: Any) -> Any:
    """Return plain data with all lists as tuples, because specs are frozen and their types strict."""
    if isinstance(content, dict):
        return {key: _with_tuples(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return tuple(map(_with_tuples, content))
    return content


def problems_of(spec: SweepSpec) -> list[InitErrorDetails]:
    """Return the problems between the sections of a spec; empty if there are none."""
    stages = (_grid_problems, _selection_problems, _size_problems, _combination_problems, _fit_problems)
    # Each stage relies on the checks of the stages before it.
    return next((found for found in (list(stage(spec)) for stage in stages) if found), [])


def _grid_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    paths = grid.paths_of(spec)
    for path, values in (spec.grid or {}).items():
        if path not in paths:
            yield at_key(("grid", path), _unknown_path(path, paths))
        elif not values:
            yield problem(("grid", path), "the list is empty; give at least one value, or remove the line")
        elif all(path in _overridden(method) for method in spec.methods):
            yield at_key(("grid", path), "every method sets this in its own 'training', so the grid has no effect")
        else:
            yield from _value_problems(spec, path, values)


def _selection_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    if spec.selection is None:
        return
    if "training.learning_rate" in (spec.grid or {}):
        yield at_key(("grid", "training.learning_rate"), "'selection' selects the learning rate; remove one of the two")
    if all("learning_rate" in method.overrides() for method in spec.methods):
        yield at_key(("selection",), "every method sets 'training.learning_rate' itself, so there is nothing to select")
    if spec.selection.annealing and not any(method.kind == BetaVAE.kind for method in spec.methods):
        yield at_key(("selection", "annealing"), "the sweep has no β-VAE; remove the line")


def _overridden(method: MethodSection) -> list[str]:
    return [f"training.{field}" for field in method.overrides()]


def _unknown_path(path: str, paths: list[str]) -> str:
    advice = _ELSEWHERE.get(path) or _ELSEWHERE.get(path.split(".", maxsplit=1)[0])
    return f"a grid cannot vary this: {advice}" if advice else f"unknown path; {hint(path, paths)}"


def _value_problems(spec: SweepSpec, path: str, values: tuple[Any, ...]) -> Iterator[InitErrorDetails]:
    seen: set[Any] = set()
    for position, value in enumerate(values):
        location = ("grid", path, position)
        try:
            checked = grid.checked_value(spec, path, value)
        except ValidationError as error:
            yield from (moved(details, location) for details in error.errors())
            continue
        if checked in seen:
            yield problem(location, f"{value!r} is listed twice")
        seen.add(checked)


def _size_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    combinations = math.prod(len(values) for values in (spec.grid or {}).values())
    trials = combinations * len(spec.seeds) * sum(len(method.methods()) for method in spec.methods)
    if spec.selection:
        trials += combinations * len(spec.methods) * len(spec.selection.learning_rates) * len(spec.selection.seeds)
    if trials > MOST_TRIALS:
        message = f"the sweep has {trials:,} trials; the limit is {MOST_TRIALS:,}"
        yield problem(("grid",) if combinations > 1 else ("methods",), message)


def _combination_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    for section in VARIED:
        yield from _refused_combinations(spec, section)
    for position, method in enumerate(spec.methods):
        if method.overrides():
            yield from _refused_overrides(spec, method, ("methods", position, "training"))


def _refused_combinations(spec: SweepSpec, section: str) -> Iterator[InitErrorDetails]:
    plain = getattr(spec, section)
    reported: set[str] = set()
    for assignment in itertools.product(*grid.axes(spec, f"{section}.")):
        try:
            grid.assigned(plain, assignment)
        except ValueError as error:
            paths = {path.split(".")[1]: path for path, _ in assignment}
            field = named_first(str(error), paths) or next(iter(paths))
            if str(error) not in reported:
                yield problem(("grid", paths[field]), str(error))
            reported.add(str(error))


def _refused_overrides(spec: SweepSpec, method: MethodSection, location: Location) -> Iterator[InitErrorDetails]:
    overrides = method.overrides()
    for assignment in itertools.product(*grid.axes(spec, "training.")):
        try:
            replace(spec.training, **{**grid.options(assignment), **overrides})
        except ValueError as error:
            field = named_first(str(error), overrides)
            yield problem((*location, field) if field else location, str(error))
            return


def _fit_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    datasets = list(grid.configured(spec, "dataset").values())
    objectives = list(grid.configured(spec, "objective").values())
    # The shape is an option of some datasets, so a grid may vary it.
    shaped = {dataset.shape: dataset for dataset in datasets}.values()
    pairs = itertools.product(grid.configured(spec, "architecture").values(), shaped)
    if refused := next(filter(None, itertools.starmap(_refused_shape, pairs)), None):
        yield refused
    objectives_too = itertools.product(grid.configured(spec, "architecture").values(), objectives)
    if refused := next(filter(None, itertools.starmap(_refused_likelihood, objectives_too)), None):
        yield refused
    if any(spec.evaluation.split not in dataset.splits for dataset in datasets):
        message = f"dataset '{datasets[0].name}' has no {spec.evaluation.split} examples as it is configured"
        yield problem(("evaluation", "split"), message)
    if refused := next(
        filter(None, itertools.starmap(_refused_on_data, itertools.product(datasets, objectives))), None
    ):
        yield refused
    yield from _rank_problems(spec)
    if spec.selection and any(spec.selection.split not in dataset.splits for dataset in datasets):
        message = f"dataset '{datasets[0].name}' has no {spec.selection.split} examples as it is configured"
        yield problem(("selection", "split"), message)
    for position, metric in enumerate(spec.evaluation.metrics):
        needs = (_unmet_needs(metric, *pair) for pair in itertools.product(datasets, objectives))
        if unmet := next(filter(None, needs), ""):
            yield problem(("evaluation", "metrics", position), f"{metric} needs {unmet}")


def _rank_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    """Yield the batches with fewer examples than ranks: each rank processes a part of every batch."""
    ranks = spec.resources.ranks
    overridden = [method.overrides().get("batch_size") for method in spec.methods]
    for position, size in enumerate(overridden):
        if size is not None and size < ranks:
            yield problem(("methods", position, "training", "batch_size"), _too_few(size, ranks))
    axis = (spec.grid or {}).get("training.batch_size")
    for position, size in enumerate(axis or ()):
        if size < ranks:
            yield problem(("grid", "training.batch_size", position), _too_few(size, ranks))
    plain = spec.training.batch_size
    if axis is None and None in overridden and plain < ranks:
        yield problem(("resources", "ranks"), _too_few(plain, ranks))


def _too_few(size: int, ranks: int) -> str:
    return f"a batch has {size} examples, fewer than the {ranks} ranks that share it (training.batch_size)"


def _refused_shape(architecture: Architecture, dataset: Dataset) -> InitErrorDetails | None:
    try:
        architecture.check_shape(dataset.shape)
    except ValueError as error:
        field = named_first(str(error), vars(architecture)) or "name"
        fitting = ", ".join(f"'{name}'" for name in ARCHITECTURES if _takes(name, dataset))
        message = f"{error} as in dataset '{dataset.name}'; architectures that take it: {fitting}"
        return problem(("architecture", field), message)
    return None


def _refused_likelihood(architecture: Architecture, objective: Objective) -> InitErrorDetails | None:
    try:
        architecture.check_likelihood(objective.likelihood)
    except ValueError as error:
        return problem(("objective", "likelihood"), str(error))
    return None


def _refused_on_data(dataset: Dataset, objective: Objective) -> InitErrorDetails | None:
    if objective.likelihood in dataset.likelihoods:
        return None
    fitting = " or ".join(f"'{name}'" for name in dataset.likelihoods)
    message = f"dataset '{dataset.name}' has likelihood {fitting}, not '{objective.likelihood}'"
    return problem(("objective", "likelihood"), message)


def _takes(name: str, dataset: Dataset) -> bool:
    try:
        ARCHITECTURES[name]().check_shape(dataset.shape)
    except (TypeError, ValueError):  # a TypeError from one that has options without a default
        return False
    return True


def _has_likelihood(dataset: Dataset, objective: Objective) -> bool:
    """Whether the objective's distortion is −log p(x|z): the Bernoulli one of grey pixels is no likelihood."""
    if objective.likelihood == "bernoulli":
        return isinstance(dataset, ImageDataset) and dataset.is_binary
    return objective.likelihood == "categorical"


_MEETS: Mapping[Need, Callable[[Dataset, Objective], bool]] = {
    Need.IMAGES: lambda dataset, _: isinstance(dataset, ImageDataset),
    Need.TEXT: lambda dataset, _: "categorical" in dataset.likelihoods,
    Need.LABELS: lambda dataset, _: dataset.has_labels,
    Need.FACTORS: lambda dataset, _: dataset.has_factors,
    Need.GREY_OR_RGB: lambda dataset, _: isinstance(dataset, ImageDataset) and dataset.shape[0] in (1, 3),
    Need.BINARY_IMAGES: lambda dataset, _: isinstance(dataset, ImageDataset) and dataset.is_binary,
    Need.BERNOULLI: lambda _, objective: objective.likelihood == "bernoulli",
    Need.LIKELIHOOD: _has_likelihood,
}


def _unmet_needs(metric: str, dataset: Dataset, objective: Objective) -> str:
    return " and ".join(need.value for need in CATALOGUE[metric].needs if not _MEETS[need](dataset, objective))
