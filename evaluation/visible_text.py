"""Text from data, stores and errors as a terminal shows it: no character of it acts."""

from __future__ import annotations

import json
import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but the tab and the line feed
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # of no width, or that turn the text
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of characters, and tags
)


def visible(text: str) -> str:
    r"""Return a text with control and bidirectional characters as escapes such as `\u202e`, without colours.

    A JSON document stays the same document. Line feeds and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return _ACTING.sub(_escape, _COLOURS.sub("", text.replace("\r\n", "\n")))


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match.group()).strip('"').replace("\x7f", "\\u007f")
