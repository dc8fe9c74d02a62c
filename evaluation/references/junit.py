"""Checks as JUnit XML, the format of test results in continuous integration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.references.equivalence import Check

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(
    suite: str,
    checks: Sequence[tuple[Check, float]],
    *,
    timestamp: str,
    hostname: str,
    properties: Mapping[str, str],
    notes: Sequence[str] = (),
) -> bytes:
    """Return one test suite with a test case for each check and its seconds.

    An undecided check is a failure of that type. `timestamp` is ISO 8601, in UTC and without a zone. Characters that
    XML does not allow are replaced.
    """
    outcomes = [check.outcome for check, _ in checks]
    counts = {
        "tests": str(len(checks)),
        "failures": str(outcomes.count("failed") + outcomes.count("undecided")),
        "errors": "0",
        "skipped": str(outcomes.count("skipped")),
        "time": _seconds(sum(seconds for _, seconds in checks)),
    }
    root = ET.Element(
        "testsuite", {"name": _text(suite), **counts, "timestamp": timestamp, "hostname": _text(hostname)}
    )
    _add_properties(root, properties)
    for check, seconds in checks:
        _add_case(root, suite, check, seconds)
    lines = [f"{check.outcome.upper()} {check.name}: {check.message}" for check, _ in checks]
    # The schema requires both in this order, even if empty; it has no place for the message of a passed case.
    ET.SubElement(root, "system-out").text = _text("\n".join([*lines, *notes]))
    ET.SubElement(root, "system-err")
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _add_properties(part: ET.Element, properties: Mapping[str, str]) -> None:
    group = ET.SubElement(part, "properties")
    for name, value in properties.items():
        ET.SubElement(group, "property", name=_text(name), value=_text(value))


def _add_case(part: ET.Element, suite: str, check: Check, seconds: float) -> None:
    # Tools read dots in a class name as packages, and a sweep's name may contain dots.
    classname = _text(suite.replace(".", "_"))
    case = ET.SubElement(part, "testcase", name=_text(check.name), classname=classname, time=_seconds(seconds))
    message = _text(check.message)
    if check.outcome == "skipped":
        ET.SubElement(case, "skipped", message=message)
    elif check.outcome != "passed":
        ET.SubElement(case, "failure", message=message, type=check.outcome).text = message


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _text(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)
