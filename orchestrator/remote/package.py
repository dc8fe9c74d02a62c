"""The job package of a sweep: its resolved spec, the versions of the submitting machine, and optionally the code."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.spec.file import spec_yaml
from workers.provenance import code_version

if TYPE_CHECKING:
    from orchestrator.spec.model import SweepSpec

PROJECT = "mrvae-orch"
PACKAGES = ("models", "evaluation", "workers", "orchestrator")
SPEC, LOCK = "spec.yaml", "requirements.lock"


def build_package(spec: SweepSpec, folder: Path, *, code: bool) -> None:
    """Write the working directory of a sweep's job into a folder; equal packages have equal bytes."""
    (folder / SPEC).write_text(spec_yaml(spec), encoding="utf-8")
    (folder / LOCK).write_text(versions_here(), encoding="utf-8")
    if code:
        for package in PACKAGES:
            shutil.copytree(_folder_of(package), folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        _describe(folder)


def digest(spec: SweepSpec) -> str:
    """Return a short hash of a spec."""
    return hashlib.sha256(spec_yaml(spec).encode()).hexdigest()[:16]


def versions_here() -> str:
    """Return the installed versions of this project and of its requirements, one `name==version` a line.

    Optional requirements are left out.
    """
    needed = [re.match(r"[\w.-]+", line) for line in metadata.requires(PROJECT) or () if "extra ==" not in line]
    return "".join(
        f"{name}=={_version(name)}\n" for name in sorted({PROJECT, *(found[0] for found in needed if found)})
    )


def differences(sent: str) -> list[str]:
    """Return the packages whose version here differs from that of the submitting machine, a sentence each."""
    pairs = (line.partition("==") for line in sent.splitlines() if "==" in line)
    return [
        f"{name} is {_version(name)} here and {version} where the sweep was submitted"
        for name, _, version in pairs
        if _version(name) != version
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(found.submodule_search_locations[0])


def _describe(folder: Path) -> None:
    """Add the metadata of an installed package, so that results record the version of the code."""
    commit = code_version().replace("+", ".")
    version = metadata.version(PROJECT) + ("" if commit.startswith("version ") else f"+{commit}")
    about = folder / f"{PROJECT.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n", encoding="utf-8")
