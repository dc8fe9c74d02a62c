"""Whatever a text field says, a report shows it as text: no tag, link, list, formula or command comes of it."""

import csv
import io
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evaluation.references.equivalence import Check
from evaluation.references.junit import junit_xml
from evaluation.report.content.contents import Scaled
from evaluation.report.rendering.markdown import escape
from evaluation.report.rendering.render import render_formats
from evaluation.visible_text import visible

PIECES = (
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</script>", "<!--", "]]>", "&lt;", "&", '"', "'"),
    *("[a](http://a.example)", "![a](b)", "`", "```", "|", "\\", "*", "_", "#", "- ", "1. ", "+ ", "=", "> ", "~~"),
    *("=1+1", "@SUM(1)", "-1+1", "+1", "\t=1", "\r=1", "{{ 7 * 7 }}", "{% raw %}", "\\input{x}", "%", "^", "{", "}"),
    *("\x1b[31m", "\x1b]0;title\x07", "\x08", "\x00", "\x85", "\u202e", "\u2066", "\u200b", "\n", "\r\n", "\u2028"),
    *("text", " ", "$$"),
)
HOSTILE = (
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join).filter(lambda text: visible(text).strip())
)
"""Texts of which something is shown: a report leaves out a paragraph of nothing, such as colours alone."""
MARKDOWN = MarkdownIt("commonmark").enable("table")


class Tags(HTMLParser):
    """The tags of a page with their attributes' names, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        # A word with a hyphen is in a span, so that no line ends in it.
        if attributes != [("class", "word")]:
            self.tags.append((tag, tuple(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text += data


def record(build, text):
    """Return a sweep with a text in each field that data, stores, specs or errors can fill."""
    good = [
        replace(
            each,
            settings={"dataset.path": text, text: "x"},
            provenance={"host": text, "commit": text},
            failed_metrics={"fid": text},
            points=tuple(replace(point, dataset=text, architecture=text) for point in each.points),
            costs=tuple(replace(cost, host=text, device_kind=f"cpu {text}") for cost in each.costs),
        )
        for each in build.straight_pair()
    ]
    failed = build.trial("β-VAE, constant", [], seed=1, state="failed", message=text)
    return build.sweep(
        *good,
        failed,
        **dict.fromkeys(("name", "description", "spec_yaml", "dataset", "architecture", "commit"), text),
        notes=(text,),
        scaled=Scaled(text, ((text, text, text),)),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=HOSTILE)
def test_no_text_becomes_a_part_of_the_page(build, text):
    """HTML and Markdown have the tags that they have with harmless texts."""
    hostile, harmless = (
        render_formats(record(build, each), ("html", "markdown", "csv", "latex")) for each in (text, "text")
    )
    (page,), (plain,) = ([each for name, each in found["html"].items()] for found in (hostile, harmless))
    assert Tags(page.decode()).tags == Tags(plain.decode()).tags
    rendered, expected = (
        Tags(MARKDOWN.render(found["markdown"]["report.md"].decode())).tags for found in (hostile, harmless)
    )
    assert rendered == expected
    for name, content in hostile["csv"].items():
        for row in csv.reader(io.StringIO(content.decode(), newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "+", "@", "\t", "\r"))], name
            assert not [cell for cell in row if cell.startswith("-") and not is_number(cell)], name
    for content in hostile["latex"].values():
        assert b"\\input" not in content
        assert content.isascii()


def is_number(cell):
    try:
        float(cell.split()[0])
    except ValueError:
        return False
    return True


@given(text=HOSTILE)
def test_no_text_becomes_a_part_of_junit_xml(text):
    def parts(text):
        checks = [(Check(text, "failed", text), 1.0), (Check(text, "skipped", text), 1.0)]
        xml = junit_xml(text, checks, timestamp="", hostname=text, properties={text: text}, notes=(text,))
        return [(part.tag, sorted(part.keys())) for part in ET.fromstring(xml).iter()]  # noqa: S314 (our own)

    assert parts(text) == parts("text")


@given(text=HOSTILE)
def test_markdown_shows_the_text_itself(text):
    """In a paragraph, in a list and in a cell."""
    shown = " ".join(visible(text).split())
    for around, tags in (("{}", "p"), ("- {}", "ul li"), ("| a |\n| --- |\n| {} |", "table thead tr th tbody tr td")):
        page = Tags(MARKDOWN.render(around.format(escape(text))))
        assert [tag for tag, _ in page.tags] == (tags.split() if shown or around != "{}" else [])
        assert " ".join(page.text.split()) == " ".join(["a", *shown.split()] if "table" in tags else shown.split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[1;31mred\x1b[0m", "ared"),
        ("\x1b]8;;http://a.example\x07link", "\\u001b]8;;http://a.example\\u0007link"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("a\r\nb\tc\rd", "a\nb\tc\\rd"),
        ("\x7f\x85\ufeff\U000e0041", "\\u007f\\u0085\\ufeff\\udb40\\udc41"),
        ("β-VAE, ½ – „é“ 日本 🙂", "β-VAE, ½ – „é“ 日本 🙂"),
    ],
)
def test_what_acts_is_visible_and_what_is_printed_stays(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown
