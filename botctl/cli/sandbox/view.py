"""Renders replies and messages as Rich renderables, similar to Discord's client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from botctl.cli.sandbox.markdown import Names, escape_line, render_inline, render_markdown
from botctl.sandbox.console.schemas import Attachment, MessageSchema, ModalField, ModalSchema, ReplySchema, StateSchema

Json = Mapping[str, Any]

# Discord: Components > Component Types and > Button Styles
_BUTTON_STYLES: Final = {1: "bold blue", 2: "bold", 3: "bold green", 4: "bold red", 5: "underline", 6: "bold magenta"}
_SELECTS: Final = {3: "", 5: "@people", 6: "@roles", 7: "@people or @roles", 8: "#channels"}
_LINK: Final = 5
# Discord: Message resource > Message Types
_SLASH_ANSWER: Final = 20
_SYSTEM_MESSAGES: Final = {18: "started a thread", 21: "the thread starts here"}
_INLINE_FIELDS: Final = 3
_KILO: Final = 1000
_PIPE_COLUMNS: Final = 1000  # wider than any terminal


@dataclass(frozen=True)
class Prefixed:
    """``content`` with ``lead`` before each line, without trailing spaces: a narrower terminal would wrap them."""

    lead: Segment
    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update(width=max(options.max_width - self.lead.cell_length, 1))
        for line in console.render_lines(self.content, inner, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            last = [Segment(line[-1].text.rstrip(), line[-1].style)] if line else []
            yield from (self.lead, *line[:-1], *last, Segment.line())


def with_color_bar(content: RenderableType, color: Any) -> Prefixed:
    """Add a coloured bar at the left, as Discord does for embeds."""
    style = Style(color=f"#{color & 0xFFFFFF:06x}") if color else Style(dim=True)
    return Prefixed(Segment("▌ ", style), content)


@dataclass(frozen=True)
class _Fields:
    """Embed fields in a row of ``columns``, which share the width of a terminal."""

    fields: Sequence[Text]
    columns: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = Table.grid(expand=options.max_width < _PIPE_COLUMNS, padding=(0, 1))
        for _ in range(self.columns):
            grid.add_column(ratio=1)
        grid.add_row(*self.fields)
        yield grid


def display_names(state: StateSchema) -> dict[str, str]:
    known: dict[str, str] = {}
    for guild in state.guilds:
        known.update((member.id, "@" + member.name) for member in guild.members)
        known.update((channel.id, "#" + channel.name) for channel in guild.channels)
        known.update((role.id, role.name if role.name.startswith("@") else "@" + role.name) for role in guild.roles)
    return known


def render_reply(reply: ReplySchema, names: Names) -> Group:
    parts: list[RenderableType] = [render_message(item, names) for item in reply.messages]
    if reply.modal:
        parts.append(render_modal(reply.modal))
    if reply.state == "no_answer" and not reply.error:
        parts.append(Text("The application did not respond", "bold red"))
    if reply.state == "deferred":
        parts.append(
            Text(f"The bot is thinking… and has not responded within {reply.waited_ms / _KILO:.1f} s", "yellow")
        )
    if reply.state == "deferred_update" and not reply.messages:
        parts.append(Text("The bot has acknowledged it; no message has changed", "dim"))
    if reply.error:
        parts.append(Text("\n").join(Text(escape_line(line), "red") for line in reply.error.splitlines()))
    return Group(*parts)


def render_messages(items: Iterable[MessageSchema], names: Names) -> Group:
    return Group(*(render_message(item, names) for item in items))


def render_message(message: MessageSchema, names: Names) -> Group:
    body: list[RenderableType] = [render_markdown(message.content, names)] if message.content else []
    body += [render_embed(item, names) for item in message.embeds]
    body += [render_attachment(item) for item in message.attachments]
    body += render_components(message.components, names)
    if message.reactions:
        counts = (Text(f"{escape_line(item.emoji)} {item.count}", "dim") for item in message.reactions)
        body.append(Text("  ").join(counts))
    if message.ephemeral:
        body.append(Text("Only you can see this", "dim italic"))
    return Group(_render_head(message), *(Prefixed(Segment("  "), item) for item in body))


def _render_head(message: MessageSchema) -> Text:
    head = Text(escape_line(message.author.name), "bold magenta" if message.author.bot else "bold cyan")
    if message.author.bot:
        head.append(" BOT", "dim")
    if message.interaction:
        slash = "/" if message.type == _SLASH_ANSWER else ""
        head.append(
            escape_line(f" · {message.interaction.user} used {slash}{message.interaction.name or 'this'}"), "dim"
        )
    if message.reply_to:
        head.append(escape_line(f" · to {message.reply_to}"), "dim")
    if message.type in _SYSTEM_MESSAGES:
        head.append(f" · {_SYSTEM_MESSAGES[message.type]}", "dim")
    if message.interaction and not (message.content or message.embeds or message.components or message.attachments):
        head.append(" · thinking…", "dim")
    if message.edited:
        head.append(" (edited)", "dim")
    return head


def render_embed(data: Json, names: Names) -> Prefixed:
    """Render an embed (Discord: Message resource > Embed Object)."""
    parts: list[RenderableType] = []
    if author := (data.get("author") or {}).get("name"):
        parts.append(Text(escape_line(str(author)), "dim"))
    if title := data.get("title"):
        parts.append(render_inline(str(title), names, "bold"))
    if description := data.get("description"):
        parts.append(render_markdown(str(description), names))
    parts += _render_fields(data.get("fields") or (), names)
    for kind in ("image", "thumbnail"):
        if url := (data.get(kind) or {}).get("url"):
            parts.append(Text(f"▣ {escape_line(str(url))}", "dim"))
    if footer := (data.get("footer") or {}).get("text"):
        parts.append(Text(escape_line(str(footer)), "dim"))
    return with_color_bar(Group(*parts), data.get("color"))


def _render_fields(fields: Sequence[Json], names: Names) -> Iterator[RenderableType]:
    """Render fields in a column; inline fields up to three in a row."""
    for inline, group in groupby(fields, lambda field: bool(field.get("inline"))):
        row = list(group)
        step = _INLINE_FIELDS if inline else 1
        for start in range(0, len(row), step):
            yield _Fields([_render_field(field, names) for field in row[start : start + step]], step)


def _render_field(data: Json, names: Names) -> Text:
    name = render_inline(str(data.get("name", "")), names, "bold")
    return Text("\n").join([name, render_markdown(str(data.get("value", "")), names)])


def render_attachment(file: Attachment) -> Text:
    size = f"{file.size} B" if file.size < _KILO else f"{file.size / _KILO:.1f} kB"
    return Text(f"▤ {escape_line(file.filename)}").append(f"  {size}  {escape_line(file.url)}", "dim")


def render_components(items: Iterable[Json], names: Names) -> list[RenderableType]:
    """Render components in reading order; an unknown type is shown by its number."""
    parts: list[RenderableType] = []
    for item in items:
        draw = _RENDERERS.get(int(item.get("type", 0)))
        parts.append(draw(item, names) if draw else Text(f"(a component of type {item.get('type')})", "dim"))
    return parts


def _render_row(data: Json, names: Names) -> RenderableType:
    inner = data.get("components") or []
    if all(item.get("type") == 2 for item in inner):  # noqa: PLR2004 - a row holds buttons or one menu
        return Text("  ").join(_render_button(item, names) for item in inner)
    return Group(*render_components(inner, names))


def _render_button(data: Json, _names: Names) -> Text:
    emoji = (data.get("emoji") or {}).get("name")
    label = escape_line(
        " ".join(str(part) for part in (emoji, data.get("label")) if part) or str(data.get("custom_id", ""))
    )
    if data.get("style") == _LINK:
        return Text(f"[ {label} ↗ ]", _BUTTON_STYLES[_LINK])
    if data.get("disabled"):
        return Text(f"( {label} )", "dim")
    return Text(f"[ {label} ]", _BUTTON_STYLES.get(int(data.get("style", 2)), "bold"))


def _render_select(data: Json, _names: Names) -> Text:
    minimum, maximum = data.get("min_values", 1), data.get("max_values", 1)
    text = Text(f"▾ {escape_line(str(data.get('placeholder') or data.get('custom_id', '')))}", "bold")
    count = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
    text.append(f"  choose {count} {_SELECTS[data['type']]}".rstrip(), "not bold dim")
    if data.get("disabled"):
        text.append(", disabled", "not bold dim")
    for number, option in enumerate(data.get("options") or (), 1):
        mark = "•" if option.get("default") else " "
        text.append(f"\n {mark}{number:>2}  {escape_line(str(option.get('label', '')))}", "not bold")
        if description := option.get("description"):
            text.append(f"  {escape_line(str(description))}", "not bold dim")
    return text


def _render_section(data: Json, names: Names) -> Group:
    inline = [data["accessory"]] if data.get("accessory") else []
    return Group(*render_components([*(data.get("components") or ()), *inline], names))


def _render_container(data: Json, names: Names) -> Prefixed:
    return with_color_bar(Group(*render_components(data.get("components") or (), names)), data.get("accent_color"))


def _render_media(data: Json, _names: Names) -> Text:
    items = data.get("items") or [data]
    urls = [str((item.get("media") or item.get("file") or {}).get("url", "")) for item in items]
    return Text("\n").join(Text(f"▣ {escape_line(url)}", "dim") for url in urls)


_RENDERERS: Final[dict[int, Callable[[Json, Names], RenderableType]]] = {
    1: _render_row,
    2: _render_button,
    **dict.fromkeys(_SELECTS, _render_select),
    9: _render_section,
    10: lambda data, names: render_markdown(str(data.get("content", "")), names),
    11: _render_media,
    12: _render_media,
    13: _render_media,
    14: lambda _raw, _names: Text("─" * 20, "dim"),
    17: _render_container,
}


def render_modal(modal: ModalSchema) -> Panel:
    """Render a modal, with the field names that ``submit`` takes."""
    lines: list[Text] = []
    for field in modal.fields:
        lines += _render_modal_field(field)
    return Panel(
        Text("\n").join(lines),
        title=Text(escape_line(modal.title), "bold"),
        title_align="left",
        subtitle=Text("* required", "dim") if any(field.required for field in modal.fields) else None,
        subtitle_align="left",
        width=60,
    )


def _render_modal_field(field: ModalField) -> list[Text]:
    label = Text(escape_line(field.label or field.custom_id), "bold")
    label.append(" *" if field.required else "", "red")
    if field.input_name == field.custom_id:
        label.append(f"  {escape_line(field.custom_id)}", "not bold dim")
    if field.value:
        return [label, *(Text("│ " + escape_line(line)) for line in field.value.split("\n"))]
    choices = ", ".join(str(option.get("label")) for option in field.options)
    return [label, Text("│ " + escape_line(f"one of: {choices}" if choices else field.placeholder or ""), "dim")]
