"""Equivalence checks of a sweep against a reference: run, printed and written as JUnit XML."""

from __future__ import annotations

import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from orchestrator.errors import ExitCode, UserError
from orchestrator.reports.gather import sweep_record
from orchestrator.reports.write import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from evaluation.references.equivalence import Check
    from evaluation.references.reference import Reference
    from orchestrator.sweeps.sweep import Sweep
    from workers.store.store import Folder, Store


@dataclass(frozen=True)
class CheckedSweep:
    """The result of checking a sweep against a reference: its checks with their seconds, and remarks."""

    sweep: str
    reference: Reference
    timed: tuple[tuple[Check, float], ...]
    notes: tuple[str, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks."""
        return tuple(check for check, _ in self.timed)

    @property
    def exit_code(self) -> ExitCode:
        """Done where the sweep agrees with the reference, else failed."""
        from evaluation.references.equivalence import agrees

        return ExitCode.DONE if agrees(self.checks) else ExitCode.FAILED

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        return {
            "sweep": self.sweep,
            "reference": self.reference.name,
            "distortion_unit": self.reference.distortion_unit,
            "agrees": self.exit_code == ExitCode.DONE,
            "checks": [asdict(check) for check in self.checks],
            "notes": list(self.notes),
        }


def check_sweep(store: Store, sweep: Sweep, reference: Reference) -> CheckedSweep:
    """Check a sweep against a reference. Raises UserError where the two are not comparable."""
    from evaluation.references.checks import checks
    from evaluation.references.matching import incomparable_reason, match, notes

    record = sweep_record(store, sweep)
    matched = match(record, reference)
    if reason := incomparable_reason(record, reference, matched):
        raise UserError(f"{sweep.name} cannot be checked against {reference.name}: {reason}")
    return CheckedSweep(
        sweep=sweep.name,
        reference=reference,
        timed=tuple(_timed(checks(reference, matched))),
        notes=(*notes(record, reference, matched), *record.notes),
    )


def write_junit(checked: CheckedSweep, folder: Folder, name: str, now: float) -> None:
    """Write the checks as JUnit XML. Raises UserError where the file cannot be written."""
    from evaluation.references.junit import junit_xml

    reference = checked.reference
    content = junit_xml(
        f"{checked.sweep} against {reference.name}",
        checked.timed,
        timestamp=datetime.fromtimestamp(now, tz=UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        hostname=socket.gethostname(),
        properties={"source": reference.source, "commit": reference.commit, "date": reference.date},
        notes=checked.notes,
    )
    write_file(folder, name, content)


def junit_place(sweep: Sweep, reference: Reference) -> tuple[Folder, str]:
    """Return the default folder and file name of the checks."""
    return sweep.folder.inside("checks"), f"{reference.name}.xml"


def print_checks(checked: CheckedSweep, console: Console) -> None:
    """Print each check and its numbers, the remarks and the summary."""
    from evaluation.references.equivalence import summary

    reference = checked.reference
    console.print(
        f"{checked.sweep} against {reference.name} ({reference.kind}: {reference.source}, {reference.date})",
        soft_wrap=True,
    )
    console.print()
    for check in checked.checks:
        console.print(Text(f"{check.outcome.upper():<10}{check.name}"), style="bold", soft_wrap=True)
        console.print(Text(f"{'':<10}{check.message}"), soft_wrap=True)
    console.print()
    for note in checked.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    console.print(f"{summary(checked.checks)}.", style="bold", soft_wrap=True)


def _timed(checks: Iterable[Check]) -> Iterator[tuple[Check, float]]:
    before = time.perf_counter()
    for check in checks:
        yield check, time.perf_counter() - before
        before = time.perf_counter()
