"""Remarks of a report on what its results were made with."""

from dataclasses import dataclass, field
from types import SimpleNamespace

from command_line import SPEC
from orchestrator.planning.plan import plan
from orchestrator.reports.origins import origin_remarks
from orchestrator.spec.file import spec_from_text

PLANNED = plan(spec_from_text(SPEC, "spec.yaml"))
OWN = SPEC.replace(
    "{name: digits, train_limit: 256}",
    "{name: image-npz, train_file: a.npz, test_file: a.npz, train_key: a, test_key: b, layout: NHW, "
    "shape: [1, 8, 8], train_examples: 64, test_examples: 32, binarise: threshold}",
)


@dataclass
class Record:
    """What the remarks read of a trial."""

    version: str = "1"
    source: str = "aaaa"
    done: bool = True
    provenance: dict = field(init=False)

    def __post_init__(self):
        self.provenance = {"plug-in my-vae": self.version, "source of plug-in my-vae": self.source, "threads": "1"}


def test_results_of_one_code_need_no_remark():
    assert list(origin_remarks(PLANNED, [Record(), Record()])) == []


def test_results_of_different_code_of_a_plugin_are_named():
    """The version may stay the same where the source does not, as in an editable installation."""
    (remark,) = origin_remarks(PLANNED, [Record(), Record(), Record(source="bbbb"), Record(version="9", done=False)])
    assert "different code of the plug-in my-vae" in remark
    assert "version 1, source aaaa (2 trials); version 1, source bbbb (1 trial)" in remark


def test_results_from_before_sources_were_recorded_are_told_apart():
    older = SimpleNamespace(done=True, provenance={"plug-in my-vae": "1"})
    (remark,) = origin_remarks(PLANNED, [older, Record()])
    assert "version 1, source not recorded (1 trial)" in remark


def test_results_of_other_numerics_are_marked():
    planned = plan(spec_from_text(SPEC, "spec.yaml"), numerics=7)
    (remark,) = origin_remarks(planned, [])
    assert "numerics version 7" in remark


def test_data_of_unknown_content_is_marked():
    """Earlier releases identified own files by their paths and counts alone."""
    (remark,) = origin_remarks(plan(spec_from_text(OWN, "spec.yaml")), [])
    assert "did not record the content of the data files" in remark
