"""Renders Discord's markdown as Rich text (Discord: Reference > Message Formatting).

Control sequences and Rich markup in a message appear as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
    """Render emphasis, code, mentions and links, without headings, lists and code blocks."""
    text = Text(style=style)
    end = 0
    for match in _MARK.finditer(line):
        text.append(escape_line(line[end : match.start()]))
        text.append_text(_render_mark(match, names))
        end = match.end()
    return text.append(escape_line(line[end:]))


def _render_mark(match: re.Match[str], names: Names) -> Text:
    if match["mark"]:
        inner = render_inline(match["inner"], names)
        inner.stylize(_EMPHASIS[match["mark"]])
        return inner
    if match["code"]:
        return Text(escape_line(match["code"].strip()), "cyan")
    if match["label"]:
        return render_inline(match["label"], names, "underline").append(f" ({escape_line(match['link'])})", "dim")
    return Text(*next(_render_simple_mark(match, names)))


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
