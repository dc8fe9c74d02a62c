"""Rich's console for text from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment

from evaluation.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator


class SafeConsole(Console):
    """A console that makes control and bidirectional characters visible, whichever text, table or tree they are in."""

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """Yield the parts of what is printed; those that move the cursor are Rich's own."""
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
