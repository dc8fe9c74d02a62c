"""Digits that are trained on slowly until a test has seen what it waits for: a plug-in, which real processes know too.

A test that wants to meet a trial in the middle then neither races with it nor waits for it.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

from workers.data.digits import Digits

STEP_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class PacedDigits(Digits):
    """The digits, a step at a time until the file `hurry` is there; what comes out has the bits of any pace."""

    hurry: str = ""

    name = "paced-digits"

    def load(self, root):
        # Imports torch, which commands that only read the spec need not wait for.
        from workers.data.resident import Images

        hurry = Path(self.hurry)

        class PacedImages(Images):
            def batch(self, indices, generator):
                until = time.monotonic() + STEP_SECONDS
                while time.monotonic() < until and not hurry.exists():
                    time.sleep(0.02)
                return super().batch(indices, generator)

        data = super().load(root)
        fields = {field.name: getattr(data.train, field.name) for field in dataclasses.fields(Images)}
        return dataclasses.replace(data, train=PacedImages(**fields))


def install(folder: Path) -> dict[str, str]:
    """Make the plug-in an installed package below a folder, and return the variables of a process that is to know it.

    A folder with nothing else in it: beside this file are folders with the names of our own packages.
    """
    about = folder / "paced-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[mrvae_orch.datasets]\npaced-digits = paced:PacedDigits\n")
    shutil.copy(__file__, folder)
    return {"PYTHONPATH": str(folder)}


@dataclasses.dataclass(frozen=True)
class Pace:
    """The pace of one test's trials; `variables` are those of a process that is to know the plug-in."""

    file: Path
    variables: dict[str, str]

    def of(self, spec: str, epochs: int) -> str:
        """Return the spec at this pace, with more steps than a test that waits for something needs seconds."""
        paced = spec.replace("{name: digits,", f"{{name: paced-digits, hurry: {self.file},")
        return paced.replace("epochs: 3", f"epochs: {epochs}")

    def hurry(self) -> None:
        """Let everything come to its end at once."""
        self.file.touch()
