"""Architectures of other installed packages, and what is said of those that cannot be used.

The packages lie here as an installer leaves them: a module, and a dist-info folder beside it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib import metadata

import pytest

from models.architecture import Architecture
from models.architectures.mlp import MLP
from models.architectures.registry import ARCHITECTURES
from models.architectures.resnet import ResNet
from models.plugins import Package, Registry

GROUP = "mrvae_orch.architectures"
DEEP = """\
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from models.architecture import Architecture
if TYPE_CHECKING:
    from pathlib import Path

@dataclass(frozen=True)
class Deep(Architecture):
    depth: int = 3
    name = "deep"

    def check_shape(self, shape): ...
    def multiply_adds(self, shape): return 0
    def build(self, shape, likelihood, gating): ...
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package of one module with entry points into a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(code: str = DEEP, entries: str = "deep = acme:Deep", package: str = "acme", version: str = "1.2") -> None:
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.delitem(sys.modules, package, raising=False)

    yield put
    for module in ("acme", "other"):
        sys.modules.pop(module, None)


def collect(*builtin: type[Architecture]) -> Registry[Architecture]:
    entries = metadata.entry_points(group=GROUP)
    return Registry("architecture", Architecture, builtin, required=ARCHITECTURES.required, entries=entries)


def test_without_plugins_a_registry_has_the_built_in_classes(caplog):
    registry = collect(MLP, ResNet)
    assert registry == {"mlp": MLP, "resnet": ResNet}
    assert (registry.packages, registry.left_out, caplog.text) == ({}, {}, "")


def test_a_plugin_stands_beside_the_built_in_classes(install, caplog):
    """It is configured by its name, and its package is known."""
    install()
    registry = collect(MLP)
    assert list(registry) == ["mlp", "deep"]
    assert registry["deep"](depth=5).depth == 5
    assert registry.packages == {"deep": Package("acme", "1.2")}
    assert (registry.left_out, caplog.text) == ({}, "")


def test_plugins_come_in_the_order_of_their_names(install):
    """Where packages lie on the disk does not decide what lists and schemas look like."""
    install(entries="zebra = acme:Zebra", code=DEEP.replace("Deep", "Zebra").replace("deep", "zebra"))
    install(package="other", entries="ape = other:Ape", code=DEEP.replace("Deep", "Ape").replace("deep", "ape"))
    assert list(collect(MLP)) == ["mlp", "ape", "zebra"]


def test_a_name_of_two_packages_is_neithers(install):
    """Whichever was taken, the same spec would mean something else on another machine."""
    install()
    install(package="other", version="0.3", entries="deep = other:Deep")
    registry = collect(MLP)
    assert list(registry) == ["mlp"]
    (reason,) = registry.left_out.values()
    assert reason == (
        "architecture 'deep' cannot be used: acme 1.2 and other 0.3 each define it; uninstall or rename one"
    )


def test_a_name_of_ours_and_a_packages_is_neithers(install):
    install(entries="mlp = acme:Deep")
    registry = collect(MLP, ResNet)
    assert list(registry) == ["resnet"]
    assert "mrvae-orch itself and acme 1.2 each define it" in registry.left_out["mlp"]


BROKEN = {
    "a missing module": ("", "deep = acme.nowhere:Deep", "importing that raised ModuleNotFoundError"),
    "a module that raises": ("1 / 0", "deep = acme:Deep", "importing that raised ZeroDivisionError: division by zero"),
    "a missing class": ("", "deep = acme:Deep", "AttributeError: module 'acme' has no attribute 'Deep'"),
    "no class": ("Deep = 3", "deep = acme:Deep", "that is no subclass of models.architecture.Architecture"),
    "another class": ("class Deep: ...", "deep = acme:Deep", "that is no subclass of models.architecture.Architecture"),
    "no dataclass": (DEEP.replace("@dataclass(frozen=True)", ""), "deep = acme:Deep", "not decorated with @dataclass"),
    "another name": (DEEP, "deeper = acme:Deep", "its `name` is 'deep'; it must be the entry point's"),
    "no name": (DEEP.replace('name = "deep"', ""), "deep = acme:Deep", "its `name` is None"),
    "no build": (
        DEEP.replace("def build", "def built"),
        "deep = acme:Deep",
        "it has no `build`, which models.architecture.Architecture requires",
    ),
    "an option that JSON does not keep": (
        DEEP.replace("depth: int", "depth: complex"),
        "deep = acme:Deep",
        "its option `depth` is complex; options must be bool, int, float, str or tuples of them",
    ),
    "a type that is missing at run time": (
        DEEP.replace("depth: int = 3", "file: Path | None = None"),
        "deep = acme:Deep",
        "the type of its option `file` cannot be read: name 'Path' is not defined",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_plugin_that_cannot_be_used_is_left_out_with_the_cause(install, caplog, case):
    """Its package, the cause and the next step are in one warning, and the others are there."""
    code, entry, cause = BROKEN[case]
    install(code=code, entries=entry)
    install(package="other", entries="fine = other:Fine", code=DEEP.replace("Deep", "Fine").replace("deep", "fine"))
    registry = collect(MLP)
    assert list(registry) == ["mlp", "fine"]
    ((name, reason),) = registry.left_out.items()
    assert reason.startswith(f"architecture {name!r} cannot be used: acme 1.2 names acme")
    assert cause in reason
    assert reason.endswith("; fix or uninstall it")
    assert caplog.record_tuples == [("models.plugins", logging.WARNING, reason)]


def test_asking_for_what_is_not_there_says_why(install):
    """The reason of one that was left out, and for an unknown one what to do."""
    install(code="1 / 0")
    registry = collect(MLP)
    with pytest.raises(KeyError, match="ZeroDivisionError"):
        registry["deep"]
    with pytest.raises(KeyError, match="there is no architecture 'wide'; if it is a plug-in's, install its package"):
        registry["wide"]


@pytest.mark.parametrize(
    ("option", "accepted"),
    [
        ("x: int | None = None", True),
        ("x: tuple[int, ...] = ()", True),
        ("x: tuple[tuple[str, float], bool] = (('a', 1.0), True)", True),
        ("x: Literal['a', 2] = 2", True),
        ("x: Annotated[int, 'about x'] = 2", True),
        ("x: Annotated[Literal['a', 2], 'about x'] = 2", True),
        ("x: Annotated[list[int], 'about x'] = ()", False),
        ("x: list[int] | None = None", False),
        ("x: tuple = ()", False),
        ("x: tuple[bytes, ...] = ()", False),
        ("x: Literal[b'a'] = b'a'", False),
        ("x: object = None", False),
        ("x: dict[str, int] | None = None", False),
    ],
)
def test_options_are_what_json_keeps(install, option, accepted):
    """A trial's identity is the JSON of its options, so that other values are refused before they are hashed."""
    code = DEEP.replace("from __future__ import annotations\n", "from typing import Annotated, Literal\n")
    install(code=code.replace("depth: int = 3", option))
    assert ("deep" in collect()) is accepted


def test_built_in_classes_could_be_plugins(install):
    """What is asked of plug-ins is no more than what the classes here have."""
    install(entries="\n".join(f"{name} = {each.__module__}:{each.__name__}" for name, each in ARCHITECTURES.items()))
    registry = collect()
    assert registry.left_out == {}
    assert registry == ARCHITECTURES


def test_looking_for_plugins_does_not_import_torch():
    program = "import sys, models.plugins, models.architectures.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
