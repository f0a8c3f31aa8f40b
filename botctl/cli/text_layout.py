"""Text in lines of a known width: tables, flows and columns whose height is known before anything is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from botctl.core.escape import ELLIPSIS

GAP: Final = 2
Cell = Text | str


def to_text(cell: Cell) -> Text:
    """``cell`` as one line."""
    return cell if isinstance(cell, Text) else Text(cell)


def truncate(line: Text, width: int) -> Text:
    """``line`` in at most ``width`` cells."""
    if line.cell_len <= width:
        return line
    line = line.copy()
    line.truncate(max(0, width - 1), overflow="crop")
    line.rstrip()
    return line.append(ELLIPSIS) if width > 0 else Text()


def spread(left: Text, right: Text, width: int) -> Text:
    """``left`` and ``right`` at the two ends of a line; ``left`` gives way."""
    left = truncate(left, width - right.cell_len - 1)
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len), right)


def wrap_items(items: Sequence[Text], width: int, *, most: int = 1000) -> list[Text]:
    """``items`` one after the other, in as many lines as it takes; what ``most`` lines do not hold is counted."""
    lines: list[list[Text]] = []
    for index, item in enumerate(items):
        fit = truncate(item, width)
        if lines and _join_row([*lines[-1], fit]).cell_len <= width:
            lines[-1].append(fit)
        elif len(lines) < most:
            lines.append([fit])
        else:
            return [*map(_join_row, lines[:-1]), _row_with_rest(lines[-1], len(items) - index, width)]
    return [_join_row(line) for line in lines]


def _join_row(items: Sequence[Text]) -> Text:
    return Text(" " * GAP).join(items)


def _row_with_rest(items: list[Text], left: int, width: int) -> Text:
    """As many of ``items`` as leave room to say how many more there are, ``left`` and those that had to give way."""
    for kept in range(len(items), 0, -1):
        row = _join_row([*items[:kept], Text(f"{ELLIPSIS} {left + len(items) - kept} more", "dim")])
        if row.cell_len <= width:
            return row
    return truncate(Text(f"{ELLIPSIS} {left + len(items)} more", "dim"), width)


def with_label(label: str, lines: Sequence[Text], indent: int) -> list[Text]:
    """``lines`` to the right of ``label``, which takes ``indent`` cells."""
    heads = [truncate(Text(label, "dim"), indent - 1), *(Text() for _ in lines[1:])]
    return (
        [Text.assemble(head, " " * (indent - head.cell_len), line) for head, line in zip(heads, lines, strict=True)]
        if lines
        else []
    )


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, *, flexible: int, left: str = ""
) -> list[Text]:
    """Rows under ``head``. Columns named in ``left`` (by their heads) begin at the left, others end at the right.

    The column number ``flexible`` takes what the others leave, or is cut when they leave too little.
    """
    cells = [[Text(name, "dim") for name in head], *([to_text(cell) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    widths[flexible] = max(1, width - sum(widths) - GAP * (len(head) - 1) + widths[flexible])
    aligned = ["left" if name in left.split() else "right" for name in head]
    return [truncate(_align(row, widths, aligned), width) for row in cells]


def _align(row: Sequence[Text], widths: Sequence[int], aligned: Sequence[str]) -> Text:
    pieces = []
    for cell, room, side in zip(row, widths, aligned, strict=True):
        shown = truncate(cell, room)
        pad = Text(" " * (room - shown.cell_len))
        pieces.append(shown + pad if side == "left" else pad + shown)
    return Text(" " * GAP).join(pieces)


def side_by_side(left: Sequence[Text], right: Sequence[Text], width: int, gap: int) -> list[Text]:
    """Two columns; the left one is ``width`` cells wide."""
    lines = []
    for index in range(max(len(left), len(right))):
        first = truncate(left[index], width) if index < len(left) else Text()
        second = right[index] if index < len(right) else Text()
        lines.append(Text.assemble(first, " " * (width - first.cell_len + gap), second))
    return lines
