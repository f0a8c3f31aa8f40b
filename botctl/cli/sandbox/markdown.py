"""Renders Discord's markdown as Rich text (Discord: Reference > Message Formatting).

Control sequences and Rich markup in a message appear as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from botctl.core.escape import escape_unprintable

Names = Mapping[str, str]  # id to display name: "@ann", "#general", "@Moderator"

_EMPHASIS: Final = {
    "***": "bold italic",
    "**": "bold",
    "__": "underline",
    "*": "italic",
    "_": "italic",
    "~~": "strike",
    "||": "reverse",
}
_MARK: Final = re.compile(
    r"""
      \\(?P<escaped>[\\*_~`|>\#<\[\]()-])
    | (?P<ticks>`{1,2})(?P<code>.+?)(?P=ticks)
    | <(?P<kind>@!?|@&|\#)(?P<id>\d+)>
    | <a?:(?P<emoji>\w+):\d+>
    | </(?P<command>[^:>]+):\d+>
    | <t:(?P<time>-?\d{1,12})(?::[a-zA-Z])?>
    | \[(?P<label>[^\]\n]+)\]\(<?(?P<link>https?://[^)\s>]+)>?\)
    | <?(?P<url>https?://[^\s<>]+)>?
    | (?P<mark>\*\*\*|\*\*|\*|~~|\|\||(?<!\w)__|(?<!\w)_)(?=\S)(?P<inner>.+?)(?<=\S)(?P=mark)(?!\w|\*)
    """,
    re.VERBOSE | re.DOTALL,
)
_MAX_NESTED: Final = 20  # marks inside each other; Discord has seven styles, and deeper marks are shown as text
_CODE_BLOCK: Final = re.compile(r"```(?:[\w+-]*\n)?(.*?)```", re.DOTALL)
_LINE: Final = re.compile(r"(?P<head>\#{1,3} |-\# )|(?P<quote>> )|(?P<indent> *)(?P<item>[-*] )")


def render_markdown(content: str, names: Names) -> Text:
    text = Text()
    for index, part in enumerate(_CODE_BLOCK.split(content)):
        if index % 2:
            _ensure_newline(text)
            text.append_text(
                Text("\n").join(Text("  " + escape_line(line), "cyan") for line in part.strip("\n").split("\n"))
            )
            text.append("\n")
        else:
            text.append_text(Text("\n").join(_render_line(line, names) for line in part.split("\n")))
    text.rstrip()
    return text


def escape_line(text: str) -> str:
    """Make control characters in one line of untrusted text visible; tabs become spaces."""
    return escape_unprintable(text.replace("\t", "    "))


def _ensure_newline(text: Text) -> None:
    if text.plain and not text.plain.endswith("\n"):
        text.append("\n")


def _render_line(line: str, names: Names) -> Text:
    block = _LINE.match(line)
    if block is None:
        return render_inline(line, names)
    rest = line[block.end() :]
    if block["head"]:
        return render_inline(rest, names, "dim" if block["head"] == "-# " else "bold")
    if block["quote"]:
        return Text("▎ ", "dim").append_text(render_inline(rest, names))
    return Text(block["indent"] + "• ").append_text(render_inline(rest, names))


def render_inline(line: str, names: Names, style: str = "") -> Text:
    """Render emphasis, code, mentions and links, without headings, lists and code blocks.

    What is inside a mark waits on a list instead of in a recursion, because a message can have a thousand marks inside
    each other.
    """
    text = Text(style=style)
    waiting = [_Piece(line, (), raw=True)]  # the next one last
    while waiting:
        piece = waiting.pop()
        if piece.raw and len(piece.styles) <= _MAX_NESTED:
            waiting += reversed(list(_split(piece, names)))
        else:
            shown = escape_line(piece.text) if piece.raw else piece.text
            text.append(shown, " ".join(dict.fromkeys(piece.styles)))
    return text


@dataclass(frozen=True)
class _Piece:
    """A part of a line in its styles, the outermost first. ``raw``: marks in it are not replaced yet."""

    text: str
    styles: tuple[str, ...]
    raw: bool = False


def _split(piece: _Piece, names: Names) -> Iterator[_Piece]:
    """The pieces of a raw ``piece``: its text between marks, and what is inside each mark."""
    end = 0
    for match in _MARK.finditer(piece.text):
        yield _Piece(escape_line(piece.text[end : match.start()]), piece.styles)
        for text, style, raw in _inside_mark(match, names):
            yield _Piece(text, (*piece.styles, style), raw)
        end = match.end()
    yield _Piece(escape_line(piece.text[end:]), piece.styles)


def _inside_mark(match: re.Match[str], names: Names) -> Iterator[tuple[str, str, bool]]:
    """Yield the text, its Rich style, and whether the text can have marks."""
    if match["mark"]:
        yield match["inner"], _EMPHASIS[match["mark"]], True
    elif match["code"]:
        yield escape_line(match["code"].strip()), "cyan", False
    elif match["label"]:
        yield match["label"], "underline", True
        yield f" ({escape_line(match['link'])})", "underline dim", False
    else:
        for text, style in _render_simple_mark(match, names):
            yield text, style, False


def _render_simple_mark(match: re.Match[str], names: Names) -> Iterator[tuple[str, str]]:
    """Yield one pair: the text and its Rich style."""
    if match["escaped"]:
        yield match["escaped"], ""
    if match["id"]:
        yield escape_line(names.get(match["id"], match[0])), "bold blue"
    if match["emoji"]:
        yield f":{match['emoji']}:", ""
    if match["command"]:
        yield "/" + escape_line(match["command"]), "bold blue"
    if match["time"]:
        yield _format_time(int(match["time"])), "italic"
    if match["url"]:
        yield escape_line(match["url"]), "underline"


def _format_time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"<t:{seconds}>"
