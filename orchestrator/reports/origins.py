"""Remarks on what a sweep's results were made with: other numerics, several versions of a plug-in, unknown data."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from evaluation.report.formatting import counted
from workers.data.own.files import OwnFiles
from workers.numerics import NUMERICS
from workers.provenance import PLUGIN, PLUGIN_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from evaluation.report.content.contents import TrialRecord
    from orchestrator.planning.plan import Plan


def origin_remarks(planned: Plan, records: Iterable[TrialRecord]) -> Iterator[str]:
    """Yield remarks on results that this release would not give, or that may not be comparable."""
    if planned.numerics != NUMERICS:
        yield (
            f"The results are of numerics version {planned.numerics}. This release has version {NUMERICS}, and would "
            "train every trial again, with other numbers."
        )
    yield from _plugins(record.provenance for record in records if record.done and record.provenance)
    datasets = {each.trial.dataset for each in planned.trials}
    if any(isinstance(each, OwnFiles) and not each.content_hashes for each in datasets):
        yield (
            "The release that planned these trials did not record the content of the data files. It is not known "
            "whether all trials were trained and evaluated on the same data."
        )


def _plugins(provenances: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield a remark for each package whose plug-ins had different versions or sources."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for provenance in provenances:
        for key, version in provenance.items():
            word, _, package = key.rpartition(" ")
            if word == PLUGIN:
                source = provenance.get(f"{PLUGIN_SOURCE} {package}", "not recorded")
                used[package][f"version {version}, source {source}"] += 1
    for package, codes in used.items():
        if len(codes) > 1:
            found = "; ".join(f"{code} ({counted(count, 'trial')})" for code, count in codes.items())
            yield f"Trials with different code of the plug-in {package} are compared: {found}."
