"""Text lines of a fixed width: tables, wrapped items and columns with a known height."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from botctl.core.escape import ELLIPSIS

GAP: Final = 2  # cells between items and between columns
Cell = Text | str


def to_text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def truncate(line: Text, width: int) -> Text:
    """``line`` in at most ``width`` cells, with an ellipsis if it is cut."""
    if line.cell_len <= width:
        return line
    line = line.copy()
    line.truncate(max(0, width - 1), overflow="crop")
    line.rstrip()
    return line.append(ELLIPSIS) if width > 0 else Text()


def spread(left: Text, right: Text, width: int) -> Text:
    """One line: ``left`` at its start, ``right`` at its end. ``left`` is cut if both do not fit."""
    left = truncate(left, width - right.cell_len - 1)
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len), right)


def wrap_words(text: str, width: int, *, max_lines: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells. A word that is too long is cut, and so is the last line."""
    lines: list[str] = []
    for full_word in text.split():
        word = truncate(Text(full_word), width).plain
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    last = truncate(Text(" ".join(lines[max_lines - 1 :])), width).plain
    return lines if len(lines) <= max_lines else [*lines[: max_lines - 1], last]


def wrap_items(items: Sequence[Text], width: int, *, max_lines: int = 1000) -> list[Text]:
    """``items`` in a row, wrapped to ``width``. The last line counts those that ``max_lines`` cannot hold."""
    lines: list[list[Text]] = []
    for index, full_item in enumerate(items):
        item = truncate(full_item, width)
        if lines and _join_row([*lines[-1], item]).cell_len <= width:
            lines[-1].append(item)
        elif len(lines) < max_lines:
            lines.append([item])
        else:
            return [*map(_join_row, lines[:-1]), _row_with_rest(lines[-1], len(items) - index, width)]
    return [_join_row(line) for line in lines]


def _join_row(items: Sequence[Text]) -> Text:
    return Text(" " * GAP).join(items)


def _row_with_rest(items: list[Text], rest: int, width: int) -> Text:
    """As many of ``items`` as fit, and ``… 3 more`` for the others. ``rest``: how many are not in ``items``."""
    for kept in range(len(items), 0, -1):
        row = _join_row([*items[:kept], Text(f"{ELLIPSIS} {rest + len(items) - kept} more", "dim")])
        if row.cell_len <= width:
            return row
    return truncate(Text(f"{ELLIPSIS} {rest + len(items)} more", "dim"), width)


def with_label(label: str, lines: Sequence[Text], indent: int) -> list[Text]:
    """``lines`` to the right of ``label``, which takes ``indent`` cells."""
    labels = [truncate(Text(label, "dim"), indent - 1), *(Text() for _ in lines[1:])]
    return (
        [Text.assemble(head, " " * (indent - head.cell_len), line) for head, line in zip(labels, lines, strict=True)]
        if lines
        else []
    )


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, *, flexible: int, left: str = ""
) -> list[Text]:
    """Rows under ``head``. ``left`` names the left-aligned columns (by their heads); the others are right-aligned.

    The column with the index ``flexible`` takes the width that the others leave; it is cut if that is too little.
    """
    cells = [[Text(name, "dim") for name in head], *([to_text(cell) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    widths[flexible] = max(1, width - sum(widths) - GAP * (len(head) - 1) + widths[flexible])
    alignments = ["left" if name in left.split() else "right" for name in head]
    return [truncate(_align(row, widths, alignments), width) for row in cells]


def _align(row: Sequence[Text], widths: Sequence[int], alignments: Sequence[str]) -> Text:
    pieces = []
    for cell, width, alignment in zip(row, widths, alignments, strict=True):
        shown = truncate(cell, width)
        padding = Text(" " * (width - shown.cell_len))
        pieces.append(shown + padding if alignment == "left" else padding + shown)
    return Text(" " * GAP).join(pieces)


def side_by_side(left: Sequence[Text], right: Sequence[Text], width: int, gap: int) -> list[Text]:
    """Two columns; the left one is ``width`` cells wide."""
    lines = []
    for index in range(max(len(left), len(right))):
        first = truncate(left[index], width) if index < len(left) else Text()
        second = right[index] if index < len(right) else Text()
        lines.append(Text.assemble(first, " " * (width - first.cell_len + gap), second))
    return lines
