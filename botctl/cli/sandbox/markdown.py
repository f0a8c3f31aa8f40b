"""Discord's markdown as Rich text: emphasis, code, quotes, lists, mentions. Pure; nothing in it can reach the terminal
as a control sequence or as Rich's own markup (Discord: Reference > Message Formatting).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from botctl.core.escape import escape_unprintable

Names = Mapping[str, str]  # id to what is shown for it: "@ann", "#general", "@Moderator"

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
_FENCE: Final = re.compile(r"```(?:[\w+-]*\n)?(.*?)```", re.DOTALL)
_LINE: Final = re.compile(r"(?P<head>\#{1,3} |-\# )|(?P<quote>> )|(?P<indent> *)(?P<item>[-*] )")


def markdown(content: str, names: Names) -> Text:
    """``content`` as Discord shows it, as far as a terminal can."""
    text = Text()
    for index, piece in enumerate(_FENCE.split(content)):
        if index % 2:
            _newline(text)
            text.append_text(
                Text("\n").join(Text("  " + plain(line), "cyan") for line in piece.strip("\n").split("\n"))
            )
            text.append("\n")
        else:
            text.append_text(Text("\n").join(_line(line, names) for line in piece.split("\n")))
    text.rstrip()
    return text


def plain(text: str) -> str:
    """One line of foreign text: tabs are spaces, other control characters are made visible."""
    return escape_unprintable(text.replace("\t", "    "))


def _newline(text: Text) -> None:
    if text.plain and not text.plain.endswith("\n"):
        text.append("\n")


def _line(line: str, names: Names) -> Text:
    block = _LINE.match(line)
    if block is None:
        return inline(line, names)
    rest = line[block.end() :]
    if block["head"]:
        return inline(rest, names, "dim" if block["head"] == "-# " else "bold")
    if block["quote"]:
        return Text("▎ ", "dim").append_text(inline(rest, names))
    return Text(block["indent"] + "• ").append_text(inline(rest, names))


def inline(line: str, names: Names, style: str = "") -> Text:
    """The marks within a line."""
    text = Text(style=style)
    end = 0
    for match in _MARK.finditer(line):
        text.append(plain(line[end : match.start()]))
        text.append_text(_marked(match, names))
        end = match.end()
    return text.append(plain(line[end:]))


def _marked(match: re.Match[str], names: Names) -> Text:
    if match["mark"]:
        inner = inline(match["inner"], names)
        inner.stylize(_EMPHASIS[match["mark"]])
        return inner
    if match["code"]:
        return Text(plain(match["code"].strip()), "cyan")
    if match["label"]:
        return inline(match["label"], names, "underline").append(f" ({plain(match['link'])})", "dim")
    return Text(*next(_simple(match, names)))


def _simple(match: re.Match[str], names: Names) -> Iterator[tuple[str, str]]:
    if match["escaped"]:
        yield match["escaped"], ""
    if match["id"]:
        yield plain(names.get(match["id"], match[0])), "bold blue"
    if match["emoji"]:
        yield f":{match['emoji']}:", ""
    if match["command"]:
        yield "/" + plain(match["command"]), "bold blue"
    if match["time"]:
        yield _time(int(match["time"])), "italic"
    if match["url"]:
        yield plain(match["url"]), "underline"


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"<t:{seconds}>"
