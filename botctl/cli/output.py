"""Print Rich renderables to a terminal or to a pipe."""

from __future__ import annotations

import io
import sys
from typing import Final

from rich.console import Console, RenderableType

WIDE: Final = 100_000  # columns; the reader of a pipe wraps lines itself


def show(*renderables: RenderableType, stderr: bool = False) -> None:
    """Print ``renderables``: wrapped to the width of a terminal, never wrapped in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        Console(stderr=stderr, markup=False, emoji=False, highlight=False).print(*renderables, sep="\n")
    else:
        print(render_plain(*renderables), file=stream)


def render_plain(*renderables: RenderableType) -> str:
    """``renderables`` as text without colours, wrapped lines or trailing blanks."""
    text = io.StringIO()
    console = Console(file=text, width=WIDE, color_system=None, markup=False, emoji=False, highlight=False)
    console.print(*renderables, sep="\n")
    return "\n".join(line.rstrip() for line in text.getvalue().removesuffix("\n").split("\n"))
