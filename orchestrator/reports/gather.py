"""The input of a report, gathered from the store: a sweep's trials with their records."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from evaluation.operating_points import beta_range_text, from_json
from evaluation.records import RecordError
from evaluation.report.content.contents import (
    Pictures,
    RateChoice,
    Scaled,
    Stage,
    SweepRecord,
    Texts,
    Traversals,
    TrialRecord,
)
from evaluation.report.formatting import counted
from orchestrator.planning.labels import flatten
from orchestrator.planning.plan import SELECTION, SWEEP
from orchestrator.reports.origins import origin_remarks
from orchestrator.spec.file import spec_yaml
from orchestrator.spec.scales import changes_of, shown
from orchestrator.sweeps.results import read_history, read_intermediate_points, read_points
from orchestrator.sweeps.selection import mean_loss
from workers.accounting.calibration import speeds_for
from workers.accounting.costs import read_costs
from workers.outcome import TrialState
from workers.store.layout import INTERMEDIATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.records import Cost, HistoryRow, Point
    from evaluation.report.content.contents import State
    from orchestrator.planning.plan import LearningRateChoice, PlannedTrial
    from orchestrator.spec.model import SweepSpec
    from orchestrator.sweeps.status import TrialStatus
    from orchestrator.sweeps.sweep import Sweep
    from workers.store.manifest import Manifest
    from workers.store.store import Store, TrialFolder

SHOWN_STATES: Mapping[TrialState, State] = {
    TrialState.DONE: "done",
    TrialState.FAILED: "failed",
    TrialState.CANCELLED: "cancelled",
    TrialState.RUNNING: "running",
    TrialState.PENDING: "pending",
    TrialState.TRAINED: "pending",
}


def gather(
    store: Store, sweep: Sweep, statuses: Mapping[str, TrialStatus], tracking_urls: Mapping[str, str]
) -> SweepRecord:
    """Return everything that the report on a sweep shows; a damaged record is left out and named in the notes."""
    notes: list[str] = []
    records = {
        planned.trial_id: _trial_record(
            store, sweep.name, planned, statuses[planned.trial_id], notes, tracking_urls.get(planned.trial_id)
        )
        for planned in sweep.plan.trials
    }
    trials, tried = (
        tuple(records[planned.trial_id] for planned in sweep.plan.trials if planned.stage == stage)
        for stage in (SWEEP, SELECTION)
    )
    costs = [cost for record in records.values() for cost in record.costs]
    speeds, remarks = speeds_for(store, costs)
    notes += [*origin_remarks(sweep.plan, records.values()), *_shared(costs), *remarks]
    spec = sweep.plan.spec
    commits = Counter((trial.provenance or {}).get("commit", "") for trial in trials if trial.done)
    return SweepRecord(
        name=sweep.name,
        description=spec.description,
        spec_yaml=spec_yaml(spec),
        dataset=_names(planned.trial.dataset for planned in sweep.plan.trials),
        architecture=_names(planned.trial.architecture for planned in sweep.plan.trials),
        created_at=sweep.submitted_at,
        commit=commits.most_common(1)[0][0] if commits else "",
        trials=trials,
        tried=tried,
        choices=tuple(_rate_choice(store, choice) for choice in sweep.plan.choices),
        waiting=len(sweep.plan.waiting),
        scaled=_scaled(spec),
        notes=tuple(notes),
        speeds=speeds,
    )


def _shared(costs: Sequence[Cost]) -> list[str]:
    trials = {cost.trial_id for cost in costs if cost.shared}
    if not trials:
        return []
    held = {cost.trial_id for cost in costs if cost.shared and cost.measured_share is None}
    ways = (
        ("the measured share of the GPU’s work", len(trials - held)),
        ("the share held (resources.gpus), not measured in whole or in part,", len(held)),
    )
    attributed = " and by ".join(f"{way} for {counted(count, 'trial')}" for way, count in ways if count)
    return [
        f"{counted(len(trials), 'trial')} held a part of a GPU: times on shared devices are attributed by "
        f"{attributed}. Their energy is unknown."
    ]


def _scaled(spec: SweepSpec) -> Scaled | None:
    changes = tuple((change.key, shown(change.full), shown(change.scaled)) for change in changes_of(spec))
    return Scaled(spec.scaled.by, changes) if spec.scaled and changes else None


def _rate_choice(store: Store, choice: LearningRateChoice) -> RateChoice:
    trials = [trial for candidate in choice.candidates for trial in candidate.trials]
    evaluation = trials[0].evaluation
    seeds = sorted({trial.trial.seed for trial in trials})
    return RateChoice(
        series=choice.series,
        losses=tuple((candidate.learning_rate, mean_loss(store, candidate)) for candidate in choice.candidates),
        chosen=choice.chosen,
        trial_ids=frozenset(trial.trial_id for trial in trials),
        rule=f"loss at β = {beta_range_text(evaluation.operating_points, digits=6)} on the {evaluation.split} split, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
    )


def _trial_record(
    store: Store,
    sweep: str,
    planned: PlannedTrial,
    status: TrialStatus,
    notes: list[str],
    tracking_url: str | None,
) -> TrialRecord:
    folder = store.trial(planned.trial_id)
    done = status.state == TrialState.DONE
    of_text = planned.trial.objective.likelihood == "categorical"
    manifest = status.manifest
    failed = {each.metric: str(each) for each in status.failed_metrics}
    costs = tuple(read_costs(folder))
    points: tuple[Point, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    unreadable = ""
    if done and manifest:
        try:
            points, history = _results(folder, manifest, planned, sweep)
        except RecordError as error:
            unreadable, done = str(error), False
            notes.append(unreadable)
    return TrialRecord(
        trial_id=planned.trial_id,
        series=planned.series,
        method=planned.trial.method.kind,  # type: ignore[arg-type]  # the literals are the registry's keys
        seed=planned.trial.seed,
        betas=planned.trial.method.trained_betas,
        state="failed" if unreadable else SHOWN_STATES[status.state],
        message=unreadable or status.message,
        parameters=manifest.parameters if manifest else None,
        settings=flatten(planned.trial.to_json()),
        provenance=manifest.provenance if manifest else None,
        attempts=status.attempts,
        points=points,
        costs=costs,
        history=history,
        along=_along(folder, manifest, history, costs, notes) if done and manifest else (),
        pictures=_pictures(folder, planned, notes) if done and not of_text and "pictures" not in failed else None,
        texts=_texts(folder, planned, notes) if done and of_text and "sentences" not in failed else None,
        tracking_url=tracking_url,
        failed_metrics=failed,
    )


def _results(
    folder: TrialFolder, manifest: Manifest, planned: PlannedTrial, sweep: str
) -> tuple[tuple[Point, ...], tuple[HistoryRow, ...]]:
    points = read_points(folder, manifest, planned.evaluation.eval_id)
    return tuple(replace(point, sweep=sweep) for point in points), tuple(read_history(folder, manifest))


def _devices(costs: Sequence[Cost]) -> float:
    """Return how many devices the time of these costs is of, in the mean: of shared ones less than one."""
    return sum(cost.device_seconds for cost in costs) / sum(cost.seconds for cost in costs) if costs else 1.0


def _along(
    folder: TrialFolder,
    manifest: Manifest,
    history: Sequence[HistoryRow],
    costs: Sequence[Cost],
    notes: list[str],
) -> tuple[Stage, ...]:
    """Return what was measured during training, by rising epochs."""
    names = sorted(name for name in manifest.files if name.startswith(f"{INTERMEDIATE}/"))
    devices = _devices([cost for cost in costs if cost.phase == "train" and cost.seconds])
    stages = []
    for name in names:
        epochs = int(name.removeprefix(f"{INTERMEDIATE}/").removesuffix(".parquet"))
        try:
            points = read_intermediate_points(folder, manifest, name)
        except RecordError as error:
            notes.append(str(error))
            continue
        seconds = sum(row.seconds for row in history if row.epoch < epochs)
        stages.append(Stage(epochs, devices * seconds, tuple(points)))
    return tuple(sorted(stages, key=lambda stage: stage.epochs))


def _pictures(folder: TrialFolder, planned: PlannedTrial, notes: list[str]) -> Pictures | None:
    if planned.evaluation.pictures == 0:
        return None
    name = f"pictures/{planned.evaluation.eval_id}.npz"
    try:
        with np.load(io.BytesIO(folder.read(name) or b""), allow_pickle=False) as arrays:
            betas = tuple(map(from_json, arrays["betas"].tolist()))
            originals, reconstructions, samples = (arrays[kind] for kind in ("originals", "reconstructions", "samples"))
            return Pictures(betas, originals, reconstructions, samples, _traversals(arrays))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        notes.append(f"{folder.place(name)}: pictures cannot be read ({error})")
        return None


def _traversals(arrays: Mapping[str, Any]) -> Traversals | None:
    # Earlier versions made none, and there are none of several latent layers.
    if "traversals" not in arrays:
        return None
    return Traversals(
        betas=tuple(map(from_json, arrays["traversal_betas"].tolist())),
        units=arrays["traversed_units"],
        variances=arrays["traversed_variances"],
        values=tuple(arrays["traversal_values"].tolist()),
        images=arrays["traversals"],
    )


def _texts(folder: TrialFolder, planned: PlannedTrial, notes: list[str]) -> Texts | None:
    if planned.evaluation.pictures == 0:
        return None
    name = f"texts/{planned.evaluation.eval_id}.json"
    try:
        record = json.loads(folder.read(name) or b"")
        rows = {kind: tuple(map(tuple, record[kind])) for kind in ("greedy", "sampled", "samples")}
        return Texts(betas=tuple(map(from_json, record["betas"])), originals=tuple(record["originals"]), **rows)
    except (ValueError, KeyError, TypeError) as error:
        notes.append(f"{folder.place(name)}: sentences cannot be read ({error})")
        return None


def _names(configurations: Any) -> str:
    described = []
    for configuration in configurations:
        options = ", ".join(f"{key} {_short(key, value)}" for key, value in asdict(configuration).items() if value)
        described.append(f"{configuration.name} ({options})" if options else configuration.name)
    return "; ".join(dict.fromkeys(described))


def _short(option: str, value: Any) -> str:
    return f"{value[:12]}…" if option.endswith("_sha256") else str(value)


def sweep_record(store: Store, sweep: Sweep) -> SweepRecord:
    """Return a sweep's trials and their curves, from the current store."""
    from orchestrator.reports.gather import gather
    from orchestrator.sweeps.status import read_statuses

    return gather(store, sweep, read_statuses(store, sweep.plan.trials, sweep.name), {})
