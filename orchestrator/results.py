"""Gathers what a report is made from: a sweep's trials with their records, from the store."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from evaluation.records import HistoryRow, Point, RecordError, from_parquet
from evaluation.report.contents import Pictures, RateChoice, Scaled, Stage, SweepRecord, Texts, Traversals, TrialRecord
from evaluation.report.wording import counted
from orchestrator.flat import flatten
from orchestrator.ledger import CANCELLED, DONE, FAILED, PENDING, RUNNING, TRAINED, TrialStatus
from orchestrator.plan import SELECTION, SWEEP
from orchestrator.scales import changes_of, shown
from orchestrator.selection import mean_loss
from orchestrator.spec_file import spec_yaml
from workers.calibration import speeds_for
from workers.costs import read_costs
from workers.trial_files import ALONG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.records import Cost
    from evaluation.report.contents import State
    from orchestrator.plan import Choice, PlannedTrial
    from orchestrator.spec import SweepSpec
    from orchestrator.sweeps import Sweep
    from workers.store import Manifest, Store, TrialFolder

SHOWN_STATES: Mapping[str, State] = {
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
    RUNNING: "running",
    PENDING: "pending",
    TRAINED: "pending",
}


def gather(
    store: Store, sweep: Sweep, ledger: Mapping[str, TrialStatus], tracking_urls: Mapping[str, str]
) -> SweepRecord:
    """Return everything that the report on a sweep shows; a damaged record is left out and named in the notes."""
    notes: list[str] = []
    records = {
        planned.trial_id: _trial_record(
            store, sweep.name, planned, ledger[planned.trial_id], notes, tracking_urls.get(planned.trial_id)
        )
        for planned in sweep.plan.trials
    }
    trials, tried = (
        tuple(records[planned.trial_id] for planned in sweep.plan.trials if planned.stage == stage)
        for stage in (SWEEP, SELECTION)
    )
    costs = [cost for record in records.values() for cost in record.costs]
    speeds, remarks = speeds_for(store, costs)
    notes += [*_shared(costs), *remarks]
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


def _rate_choice(store: Store, choice: Choice) -> RateChoice:
    trials = [trial for candidate in choice.candidates for trial in candidate.trials]
    evaluation = trials[0].evaluation
    seeds = sorted({trial.trial.seed for trial in trials})
    return RateChoice(
        series=choice.series,
        losses=tuple((candidate.learning_rate, mean_loss(store, candidate)) for candidate in choice.candidates),
        chosen=choice.chosen,
        trial_ids=frozenset(trial.trial_id for trial in trials),
        rule=f"loss at β = {evaluation.betas[0]:g} on the {evaluation.split} split, "
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
    done = status.state == DONE
    of_text = planned.trial.objective.likelihood == "categorical"
    manifest = status.manifest
    costs = tuple(read_costs(folder))
    try:
        points = _points(folder, planned, sweep) if done else ()
        history = _history(folder) if done else ()
    except RecordError as error:
        notes.append(str(error))
        points, history, done = (), (), False
    return TrialRecord(
        trial_id=planned.trial_id,
        series=planned.series,
        method=planned.trial.method.kind,  # type: ignore[arg-type]  # the literals are the registry's keys
        seed=planned.trial.seed,
        betas=planned.trial.method.trained_betas,
        state=SHOWN_STATES[status.state] if done or status.state != DONE else "failed",
        message=status.message if done or status.state != DONE else "its result files are damaged",
        parameters=manifest.parameters if manifest else None,
        settings=flatten(planned.trial.to_json()),
        provenance=manifest.provenance if manifest else None,
        attempts=status.attempts,
        points=points,
        costs=costs,
        history=history,
        along=_along(folder, status.manifest, history, costs, notes) if done else (),
        pictures=_pictures(folder, planned, notes) if done and not of_text else None,
        texts=_texts(folder, planned, notes) if done and of_text else None,
        tracking_url=tracking_url,
    )


def _points(folder: TrialFolder, planned: PlannedTrial, sweep: str) -> tuple[Point, ...]:
    name = f"points/{planned.evaluation.eval_id}.parquet"
    points = from_parquet(Point, folder.read(name) or b"", folder.place(name))
    return tuple(replace(point, sweep=sweep) for point in points)


def _history(folder: TrialFolder) -> tuple[HistoryRow, ...]:
    name = "history.parquet"
    return tuple(from_parquet(HistoryRow, folder.read(name) or b"", folder.place(name)))


def _devices(costs: Sequence[Cost]) -> float:
    """Return how many devices the time of these costs is of, in the mean: of shared ones less than one."""
    return sum(cost.device_seconds for cost in costs) / sum(cost.seconds for cost in costs) if costs else 1.0


def _along(
    folder: TrialFolder,
    manifest: Manifest | None,
    history: Sequence[HistoryRow],
    costs: Sequence[Cost],
    notes: list[str],
) -> tuple[Stage, ...]:
    """Return what was measured during training, by rising epochs."""
    names = sorted(name for name in (manifest.files if manifest else ()) if name.startswith(f"{ALONG}/"))
    devices = _devices([cost for cost in costs if cost.phase == "train" and cost.seconds])
    stages = []
    for name in names:
        epochs = int(name.removeprefix(f"{ALONG}/").removesuffix(".parquet"))
        try:
            points = from_parquet(Point, folder.read(name) or b"", folder.place(name))
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
            betas = tuple(float(beta) for beta in arrays["betas"])
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
        betas=tuple(arrays["traversal_betas"].tolist()),
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
        return Texts(betas=tuple(record["betas"]), originals=tuple(record["originals"]), **rows)
    except (ValueError, KeyError, TypeError) as error:
        notes.append(f"{folder.place(name)}: sentences cannot be read ({error})")
        return None


def _names(configurations: Any) -> str:
    described = []
    for configuration in configurations:
        options = ", ".join(f"{key} {value}" for key, value in asdict(configuration).items() if value)
        described.append(f"{configuration.name} ({options})" if options else configuration.name)
    return "; ".join(dict.fromkeys(described))
