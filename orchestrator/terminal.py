"""What commands print: text from anywhere, with nothing in it that acts on the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from evaluation.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 200
"""The width of tables in a file or a pipe, which are not cut to a terminal's."""


def echo(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print a text, to standard error if `err`."""
    click.echo(visible(text) + end, err=err, nl=False)  # noqa: TID251 (the one place)


def echo_json(value: Any) -> None:
    """Print a value as one JSON document."""
    echo(json.dumps(value, indent=1, ensure_ascii=False))


def console() -> Console:
    """Return the console that results go to."""
    from orchestrator.safe_console import SafeConsole  # Rich takes longer to import than short commands run

    found = SafeConsole(highlight=False, markup=False)
    return found if found.is_terminal else SafeConsole(highlight=False, markup=False, width=PLAIN_WIDTH)
