"""What must hold between the sections of a spec, once each is right by itself."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from models.registry import ARCHITECTURES
from orchestrator import grid
from orchestrator.nearest import hint
from orchestrator.sections import at_key, moved, named_first, problem
from workers.data.dataset import ImageDataset
from workers.trial import BetaVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic_core import InitErrorDetails

    from models.architecture import Architecture
    from orchestrator.sections import Location
    from orchestrator.spec import SweepSpec
    from orchestrator.spec_methods import MethodSection
    from workers.data.dataset import Dataset
    from workers.trial import Objective

MOST_TRIALS = 100_000

_ELSEWHERE = {
    "seeds": "every trial runs with every seed already; list them under 'seeds'",
    "methods": "every method runs at every point of the grid already; list them under 'methods'",
    "evaluation": "a trained model is measured once, at every β of 'evaluation.betas'",
    "resources": "resources change no result; give them once, under 'resources'",
    "priority": "a sweep has one priority",
    "retries": "retries change no result; give them once, under 'retries'",
    "budget": "a sweep has one budget",
    "notify": "a sweep tells of its end once",
    "dataset.name": "a sweep has one dataset; write one spec for each",
    "architecture.name": "a sweep has one architecture; write one spec for each",
}


def problems_of(spec: SweepSpec) -> list[InitErrorDetails]:
    """Return what is wrong with a spec whose sections are right by themselves, empty where nothing is."""
    stages = (_grid_problems, _selection_problems, _size_problems, _combination_problems, _fit_problems)
    # Each stage builds on what the ones before it have checked.
    return next((found for found in (list(stage(spec)) for stage in stages) if found), [])


def _grid_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    paths = grid.paths_of(spec)
    for path, values in (spec.grid or {}).items():
        if path not in paths:
            yield at_key(("grid", path), _unknown_path(path, paths))
        elif not values:
            yield problem(("grid", path), "the list is empty; give at least one value, or remove the line")
        elif all(path in _overridden(method) for method in spec.methods):
            yield at_key(("grid", path), "every method sets this in its own 'training', so the grid changes nothing")
        else:
            yield from _value_problems(spec, path, values)


def _selection_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    if spec.selection is None:
        return
    if "training.learning_rate" in (spec.grid or {}):
        yield at_key(("grid", "training.learning_rate"), "'selection' chooses the learning rate; remove one of the two")
    if all("learning_rate" in method.overrides() for method in spec.methods):
        yield at_key(("selection",), "every method sets 'training.learning_rate' itself, so there is nothing to choose")
    if spec.selection.annealing and not any(method.kind == BetaVAE.kind for method in spec.methods):
        yield at_key(("selection", "annealing"), "there is no β-VAE that it could be of; remove the line")


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
        message = f"the sweep has {trials:,} trials; the most is {MOST_TRIALS:,}"
        yield problem(("grid",) if combinations > 1 else ("methods",), message)


def _combination_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    for section in grid.VARIED:
        yield from _refused_combinations(spec, section)
    for position, method in enumerate(spec.methods):
        if method.overrides():
            yield from _refused_overrides(spec, method, ("methods", position, "training"))


def _refused_combinations(spec: SweepSpec, section: str) -> Iterator[InitErrorDetails]:
    plain = getattr(spec, section).configuration()
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
    plain = spec.training.configuration()
    for assignment in itertools.product(*grid.axes(spec, "training.")):
        try:
            replace(plain, **{**grid.options(assignment), **overrides})
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
        needs = (_NEEDS[metric](*pair) for pair in itertools.product(datasets, objectives) if metric in _NEEDS)
        if lacking := next(filter(None, needs), None):
            yield problem(("evaluation", "metrics", position), f"{metric} needs {lacking}")


def _rank_problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    """Each rank takes its part of every batch, so that there must be at least one example for each."""
    ranks = spec.resources.ranks
    overridden = [method.overrides().get("batch_size") for method in spec.methods]
    for position, size in enumerate(overridden):
        if size is not None and size < ranks:
            yield problem(("methods", position, "training", "batch_size"), _too_few(size, ranks))
    axis = (spec.grid or {}).get("training.batch_size")
    for position, size in enumerate(axis or ()):
        if size < ranks:
            yield problem(("grid", "training.batch_size", position), _too_few(size, ranks))
    plain = spec.training.configuration().batch_size
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
        message = f"{error}, which is what dataset '{dataset.name}' has; architectures that fit it: {fitting}"
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


def _needs_for_bits(dataset: Dataset, objective: Objective) -> str | None:
    needs = []
    if not isinstance(dataset, ImageDataset):
        return "images"
    if not dataset.is_binary:
        needs.append(f"binary data (dataset.binarise other than '{dataset.binarise}': threshold, static or dynamic)")
    if objective.likelihood != "bernoulli":
        needs.append(f"the bernoulli likelihood (objective.likelihood is '{objective.likelihood}')")
    return " and ".join(needs)


def _needs_images(dataset: Dataset, _objective: Objective) -> str | None:
    return None if isinstance(dataset, ImageDataset) else "images"


def _needs_text(dataset: Dataset, _objective: Objective) -> str | None:
    return None if "categorical" in dataset.likelihoods else "text"


def _needs_factors(dataset: Dataset, _objective: Objective) -> str | None:
    return None if dataset.has_factors else "known factors of variation, as datasets 'sprites' and 'dsprites' have"


def _needs_labels(dataset: Dataset, _objective: Objective) -> str | None:
    return None if dataset.has_labels else "labels"


def _needs_colours(dataset: Dataset, _objective: Objective) -> str | None:
    fits = isinstance(dataset, ImageDataset) and dataset.shape[0] in (1, 3)
    return None if fits else "grey images, or such in red, green and blue"


def _needs_labelled_images(dataset: Dataset, _objective: Objective) -> str | None:
    return None if isinstance(dataset, ImageDataset) and dataset.has_labels else "images with labels"


def _needs_likelihood(_dataset: Dataset, objective: Objective) -> str | None:
    proper = objective.likelihood != "squared-error"
    return None if proper else "a likelihood, bernoulli or categorical (objective.likelihood is 'squared-error')"


_NEEDS: Mapping[str, Callable[[Dataset, Objective], str | None]] = {
    "bits_per_dimension": _needs_for_bits,
    "dci": _needs_factors,
    "fid": _needs_colours,
    "frechet_classifier": _needs_labelled_images,
    "importance_weighted_nll": _needs_likelihood,
    "linear_probe": _needs_labels,
    "mig": _needs_factors,
    "mig_histogram": _needs_factors,
    "perplexity": _needs_text,
    "psnr": _needs_images,
}
