from xml.etree import ElementTree as ET

import pytest

from evaluation.references.equivalence import Check
from evaluation.references.junit import junit_xml

REQUIRED = {"name", "timestamp", "hostname", "tests", "failures", "errors", "time"}
"""What the schema of Ant's JUnit reports wants of a suite."""
HOSTILE = "a\x00b\x1bc <&\"']]> \ud800 β"


def parse(checks, **changes):
    options = {
        "timestamp": "2026-01-02T03:04:05",
        "hostname": "here",
        "properties": {"source": "a sweep"},
        "notes": ["a note"],
        **changes,
    }
    return ET.fromstring(junit_xml("demo v1.0 against first", checks, **options))  # noqa: S314 (our own)


def test_a_suite_has_a_case_for_each_check():
    suite = parse(
        [
            (Check("one", "passed", "fine"), 0.25),
            (Check("two", "failed", "too far"), 0.5),
            (Check("three", "undecided", "more seeds"), 0.0),
            (Check("four", "skipped", "not told"), 0.0),
        ]
    )
    assert suite.tag == "testsuite"
    assert suite.attrib == {
        "name": "demo v1.0 against first",
        "tests": "4",
        "failures": "2",
        "errors": "0",
        "skipped": "1",
        "time": "0.750",
        "timestamp": "2026-01-02T03:04:05",
        "hostname": "here",
    }
    assert [case.attrib for case in suite.iter("testcase")] == [
        {"name": name, "classname": "demo v1_0 against first", "time": time}
        for name, time in (("one", "0.250"), ("two", "0.500"), ("three", "0.000"), ("four", "0.000"))
    ]
    results = [[(result.tag, result.attrib, result.text) for result in case] for case in suite.iter("testcase")]
    assert results == [
        [],
        [("failure", {"message": "too far", "type": "failed"}, "too far")],
        [("failure", {"message": "more seeds", "type": "undecided"}, "more seeds")],
        [("skipped", {"message": "not told"}, None)],
    ]


def test_parts_stand_in_the_order_of_the_schema():
    suite = parse([(Check("one", "passed", "fine"), 0.0)])
    assert set(suite.attrib) >= REQUIRED
    assert [part.tag for part in suite] == ["properties", "testcase", "system-out", "system-err"]
    assert [part.attrib for part in suite.find("properties")] == [{"name": "source", "value": "a sweep"}]
    assert suite.find("system-out").text == "PASSED one: fine\na note"


@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped"])
def test_any_text_makes_valid_xml(outcome):
    """Characters that XML has no place for are replaced; markup is text."""
    suite = parse([(Check(HOSTILE, outcome, HOSTILE), 0.0)], properties={HOSTILE: HOSTILE}, notes=[HOSTILE])
    assert suite.find("testcase").get("name") == "a\ufffdb\ufffdc <&\"']]> \ufffd β"
