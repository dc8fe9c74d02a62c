"""A sweep that is submitted again: which data its trials are of, and what becomes of results that its plan lacks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from evaluation.report.formatting import counted
from orchestrator.errors import SweepError
from orchestrator.spec.file import SpecError
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import SPEC, PlanDamaged, load_sweep, report_folder, save_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orchestrator.planning.plan import Plan
    from orchestrator.sweeps.sweep import Sweep
    from workers.data.dataset import Dataset
    from workers.store.store import Store


def earlier_sweep(store: Store, name: str) -> Sweep | None:
    """Return the sweep of that name in the store, or None where there is none or its spec or plan is damaged.

    Raises SweepError where another release planned it in a way that this one cannot read.
    """
    if not store.sweep(name).exists(SPEC):
        return None
    try:
        return load_sweep(store, name)
    except (SpecError, PlanDamaged):
        return None


def content_reader(data_root: Path, known: Iterable[tuple[Dataset, Dataset]]) -> Callable[[Dataset], Dataset]:
    """Return a function for `resolve`, which names the content of the user's files in the data folder.

    Where they are not there, it names the content in `known`, pairs as in `Plan.contents`, if they have it. The
    function raises DataError where a file cannot be read.
    """
    remembered = dict(known)

    def with_content(dataset: Dataset) -> Dataset:
        if all(path.is_file() for path in dataset.locate(data_root)):
            return dataset.with_content(data_root)
        return remembered.get(dataset, dataset)

    return with_content


def unusable_results(store: Store, earlier: Sweep, planned: Plan) -> str:
    """Return how many trained trials of a sweep a new plan of it cannot use, and why, as a clause; empty if none.

    Trials that the user's own change of the spec leaves out do not count: the content of a file has changed, or this
    release has other numerics or options.
    """
    reason = _why_others(earlier.plan, planned)
    trained = _trained(store, earlier, planned) if reason else 0
    if not trained:
        return ""
    return f"{counted(trained, 'trained trial')} cannot be used, because {reason}"


def refuse(name: str, unusable: str, *, train: bool) -> NoReturn:
    """Raise SweepError about `unusable_results`, with the next step."""
    if not train:
        raise SweepError(f"sweep {name!r} cannot be evaluated: {unusable}; its results and report stay as they are")
    raise SweepError(
        f"sweep {name!r} is not submitted: {unusable}. To train again, submit under another name (--set name=…), or "
        "with --retrain, which first gives this sweep another name; nothing is deleted"
    )


def keep_under_another_name(store: Store, earlier: Sweep) -> str:
    """Make the sweep available under the first free name such as `NAME.1`, with its report, and return the name."""
    taken = set(store.sweep_names())
    number = 1
    while (name := f"{earlier.name}.{number}") in taken:
        number += 1
    spec = earlier.plan.spec.model_copy(update={"name": name})
    kept = save_sweep(store, replace(earlier.plan, name=name, spec=spec), time.time())
    report, copy = report_folder(earlier), report_folder(kept)
    for file in report.names("**/*"):
        if (content := report.read(file)) is not None:
            copy.write(file, content)
    return name


def _why_others(earlier: Plan, planned: Plan) -> str:
    """Return why trials of the same settings are other trials now; empty where the user's spec alone can be why."""
    if earlier.numerics != planned.numerics:
        return (
            f"they are of numerics version {earlier.numerics}, and this release trains with version {planned.numerics}"
        )
    before = dict(earlier.contents)
    used = {each.trial.dataset for each in earlier.trials}
    for named, known in planned.contents:
        if (was := before.get(named)) is not None and was != known:
            return _changed(was, known)
        if was is None and named in used:
            return f"the release that trained them did not record the content of the files of {named.name!r}"
    if earlier.spec == planned.spec and not earlier.choices and _ids(earlier) != _ids(planned):
        return "this release, or another version of a plug-in, adds options to them that it did not have"
    return ""


def _changed(was: Dataset, now: Dataset) -> str:
    parts = [part for part, digest in now.content_hashes.items() if was.content_hashes.get(part) != digest]
    before, after = ({part: each.content_hashes[part][:12] for part in parts} for each in (was, now))
    changes = ", ".join(f"{part} sha256 {before[part]}… then, {after[part]}… now" for part in parts)
    return f"the content of the files of {now.name!r} has changed since ({changes})"


def _ids(planned: Plan) -> set[str]:
    return {each.trial_id for each in (*planned.trials, *planned.waiting)}


def _trained(store: Store, earlier: Sweep, planned: Plan) -> int:
    others = [each for each in earlier.plan.trials if each.trial_id not in _ids(planned)]
    return sum(status.manifest is not None for status in read_statuses(store, others).values())
