"""What verbs print, for a terminal or for a pipe."""

from __future__ import annotations

import io
import sys
from typing import Final

from rich.console import Console, RenderableType

WIDE: Final = 100_000  # columns: whoever reads a pipe wraps lines as they like


def show(*shown: RenderableType, stderr: bool = False) -> None:
    """Print ``shown``. Lines are as wide as a terminal, or as what stands in them where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        Console(stderr=stderr, markup=False, emoji=False, highlight=False).print(*shown, sep="\n")
    else:
        print(render_plain(*shown), file=stream)


def render_plain(*shown: RenderableType) -> str:
    """``shown`` as lines without colours, none of them wrapped and none with blanks at its end."""
    text = io.StringIO()
    console = Console(file=text, width=WIDE, color_system=None, markup=False, emoji=False, highlight=False)
    console.print(*shown, sep="\n")
    return "\n".join(line.rstrip() for line in text.getvalue().removesuffix("\n").split("\n"))
