"""Holds a sweep against a reference: what is compared, printed and written as JUnit XML."""

from __future__ import annotations

import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.references import sweep_record, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from evaluation.gates import Check
    from evaluation.references.reference import Reference
    from orchestrator.sweeps import Sweep
    from workers.store import Folder, Store


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep held against a reference: its checks with the seconds each took, and what to know beside them."""

    sweep: str
    reference: Reference
    timed: tuple[tuple[Check, float], ...]
    notes: tuple[str, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks."""
        return tuple(check for check, _ in self.timed)

    @property
    def exit_code(self) -> int:
        """0 where the sweep agrees with the reference, else 1."""
        from evaluation.gates import agrees

        return 0 if agrees(self.checks) else 1

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        return {
            "sweep": self.sweep,
            "reference": self.reference.name,
            "distortion_unit": self.reference.distortion_unit,
            "agrees": self.exit_code == 0,
            "checks": [asdict(check) for check in self.checks],
            "notes": list(self.notes),
        }


def check_sweep(store: Store, sweep: Sweep, reference: Reference) -> CheckedSweep:
    """Return what comes of a sweep beside a reference. Raises UserError where the two are not comparable."""
    from evaluation.references.checks import checks
    from evaluation.references.matching import match, notes, obstacle

    record = sweep_record(store, sweep)
    matched = match(record, reference)
    if reason := obstacle(record, reference, matched):
        raise UserError(f"{sweep.name} cannot be checked against {reference.name}: {reason}")
    return CheckedSweep(
        sweep=sweep.name,
        reference=reference,
        timed=tuple(_timed(checks(reference, matched))),
        notes=(*notes(record, reference, matched), *record.notes),
    )


def write_junit(checked: CheckedSweep, folder: Folder, name: str, now: float) -> None:
    """Write the checks as JUnit XML. Raises UserError where the file cannot be written."""
    from evaluation.junit import junit_xml

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
    """Return the folder and the file's name where the checks are written unless another place is named."""
    return sweep.folder.inside("checks"), f"{reference.name}.xml"


def print_checks(checked: CheckedSweep, console: Console) -> None:
    """Print each check and its numbers, what to know beside them, and what it comes to."""
    from evaluation.gates import summary

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
