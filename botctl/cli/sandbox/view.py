"""What a person would see in Discord, as Rich renderables. Pure: replies and messages in, things to print out."""

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

from botctl.cli.sandbox.markdown import Names, render_inline, render_markdown, escape_line
from botctl.sandbox.console.schemas import Attachment, FormField, MessageSchema, ModalSchema, ReplySchema, StateSchema

Json = Mapping[str, Any]

# Discord: Components > Component Types and > Button Styles
_BUTTON_STYLES: Final = {1: "bold blue", 2: "bold", 3: "bold green", 4: "bold red", 5: "underline", 6: "bold magenta"}
_SELECTS: Final = {3: "", 5: "@people", 6: "@roles", 7: "@people or @roles", 8: "#channels"}
_LINK: Final = 5
# Discord: Message resource > Message Types
_SLASH_ANSWER: Final = 20
_SYSTEM: Final = {18: "began a thread", 21: "the thread begins here"}
_INLINE_FIELDS: Final = 3
_KILO: Final = 1000
_PIPE_COLUMNS: Final = 1000  # columns; no terminal has as many


@dataclass(frozen=True)
class Prefixed:
    """``content`` with ``lead`` before each line, and no blanks after it: a terminal that gets narrower wraps those."""

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
    """With a coloured bar at its left, as Discord draws embeds."""
    style = Style(color=f"#{color & 0xFFFFFF:06x}") if color else Style(dim=True)
    return Prefixed(Segment("▌ ", style), content)


@dataclass(frozen=True)
class _Fields:
    """Fields in a row of ``columns``, which share the width of a terminal; a pipe has none to share."""

    fields: Sequence[Text]
    columns: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = Table.grid(expand=options.max_width < _PIPE_COLUMNS, padding=(0, 1))
        for _ in range(self.columns):
            grid.add_column(ratio=1)
        grid.add_row(*self.fields)
        yield grid


def display_names(state: StateSchema) -> dict[str, str]:
    """What to show for the ids that messages mention."""
    known: dict[str, str] = {}
    for guild in state.guilds:
        known.update((member.id, "@" + member.name) for member in guild.members)
        known.update((channel.id, "#" + channel.name) for channel in guild.channels)
        known.update((role.id, role.name if role.name.startswith("@") else "@" + role.name) for role in guild.roles)
    return known


def render_reply(answer: ReplySchema, names: Names) -> Group:
    """All that came of an interaction."""
    parts: list[RenderableType] = [render_message(each, display_names) for each in answer.messages]
    if answer.modal:
        parts.append(render_modal(answer.modal))
    if answer.state == "no_answer" and not answer.error:
        parts.append(Text("The application did not respond", "bold red"))
    if answer.state == "deferred":
        parts.append(
            Text(f"The bot is thinking… and has not answered within {answer.waited_ms / _KILO:.1f} s", "yellow")
        )
    if answer.state == "deferred_update" and not answer.messages:
        parts.append(Text("The bot took note of it; nothing here changed", "dim"))
    if answer.error:
        parts.append(Text("\n").join(Text(escape_line(line), "red") for line in answer.error.splitlines()))
    return Group(*parts)


def render_messages(shown: Iterable[MessageSchema], names: Names) -> Group:
    return Group(*(render_message(each, display_names) for each in shown))


def render_message(shown: MessageSchema, names: Names) -> Group:
    """One message: who, what, and what may be pressed."""
    body: list[RenderableType] = [render_markdown(shown.content, display_names)] if shown.content else []
    body += [render_embed(each, display_names) for each in shown.embeds]
    body += [render_attachment(each) for each in shown.attachments]
    body += render_components(shown.components, display_names)
    if shown.reactions:
        body.append(Text("  ").join(Text(f"{escape_line(one.emoji)} {one.count}", "dim") for one in shown.reactions))
    if shown.ephemeral:
        body.append(Text("Only you can see this", "dim italic"))
    return Group(_render_head(shown), *(Prefixed(Segment("  "), each) for each in body))


def _render_head(shown: MessageSchema) -> Text:
    head = Text(escape_line(shown.author.name), "bold magenta" if shown.author.bot else "bold cyan")
    if shown.author.bot:
        head.append(" BOT", "dim")
    if shown.interaction:
        slash = "/" if shown.type == _SLASH_ANSWER else ""
        head.append(escape_line(f" · {shown.interaction.user} used {slash}{shown.interaction.name or 'this'}"), "dim")
    if shown.reply_to:
        head.append(escape_line(f" · to {shown.reply_to}"), "dim")
    if shown.type in _SYSTEM:
        head.append(f" · {_SYSTEM[shown.type]}", "dim")
    if shown.interaction and not (shown.content or shown.embeds or shown.components or shown.attachments):
        head.append(" · thinking…", "dim")
    if shown.edited:
        head.append(" (edited)", "dim")
    return head


def render_embed(raw: Json, names: Names) -> Prefixed:
    """An embed (Discord: Message resource > Embed Object)."""
    parts: list[RenderableType] = []
    if author := (raw.get("author") or {}).get("name"):
        parts.append(Text(escape_line(str(author)), "dim"))
    if title := raw.get("title"):
        parts.append(render_inline(str(title), display_names, "bold"))
    if description := raw.get("description"):
        parts.append(render_markdown(str(description), display_names))
    parts += _render_fields(raw.get("fields") or (), display_names)
    for kind in ("image", "thumbnail"):
        if url := (raw.get(kind) or {}).get("url"):
            parts.append(Text(f"▣ {escape_line(str(url))}", "dim"))
    if footer := (raw.get("footer") or {}).get("text"):
        parts.append(Text(escape_line(str(footer)), "dim"))
    return with_color_bar(Group(*parts), raw.get("color"))


def _render_fields(fields: Sequence[Json], names: Names) -> Iterator[RenderableType]:
    """Fields one below the other, those that are inline up to three in a row."""
    for beside, group in groupby(fields, lambda field: bool(field.get("inline"))):
        row = list(group)
        step = _INLINE_FIELDS if beside else 1
        for at in range(0, len(row), step):
            yield _Fields([_render_field(field, display_names) for field in row[at : at + step]], step)


def _render_field(raw: Json, names: Names) -> Text:
    name = render_inline(str(raw.get("name", "")), display_names, "bold")
    return Text("\n").join([name, render_markdown(str(raw.get("value", "")), display_names)])


def render_attachment(file: Attachment) -> Text:
    size = f"{file.size} B" if file.size < _KILO else f"{file.size / _KILO:.1f} kB"
    return Text(f"▤ {escape_line(file.filename)}").append(f"  {size}  {escape_line(file.url)}", "dim")


def render_components(shown: Iterable[Json], names: Names) -> list[RenderableType]:
    """Buttons, menus and layout, in reading order; a kind that is not known is named and not hidden."""
    parts: list[RenderableType] = []
    for each in shown:
        draw = _RENDERERS.get(int(each.get("type", 0)))
        parts.append(draw(each, display_names) if draw else Text(f"(a component of type {each.get('type')})", "dim"))
    return parts


def _render_row(raw: Json, names: Names) -> RenderableType:
    inner = raw.get("components") or []
    if all(each.get("type") == 2 for each in inner):  # noqa: PLR2004 - a row holds buttons or one menu
        return Text("  ").join(_render_button(each, display_names) for each in inner)
    return Group(*render_components(inner, display_names))


def _render_button(raw: Json, _names: Names) -> Text:
    emoji = (raw.get("emoji") or {}).get("name")
    words = escape_line(" ".join(str(part) for part in (emoji, raw.get("label")) if part) or str(raw.get("custom_id", "")))
    if raw.get("style") == _LINK:
        return Text(f"[ {words} ↗ ]", _BUTTON_STYLES[_LINK])
    if raw.get("disabled"):
        return Text(f"( {words} )", "dim")
    return Text(f"[ {words} ]", _BUTTON_STYLES.get(int(raw.get("style", 2)), "bold"))


def _render_select(raw: Json, _names: Names) -> Text:
    low, high = raw.get("min_values", 1), raw.get("max_values", 1)
    text = Text(f"▾ {escape_line(str(raw.get('placeholder') or raw.get('custom_id', '')))}", "bold")
    count = f"{low}" if low == high else f"{low} to {high}"
    text.append(f"  choose {count} {_SELECTS[raw['type']]}".rstrip(), "not bold dim")
    if raw.get("disabled"):
        text.append(", disabled", "not bold dim")
    for number, option in enumerate(raw.get("options") or (), 1):
        mark = "•" if option.get("default") else " "
        text.append(f"\n {mark}{number:>2}  {escape_line(str(option.get('label', '')))}", "not bold")
        if description := option.get("description"):
            text.append(f"  {escape_line(str(description))}", "not bold dim")
    return text


def _render_section(raw: Json, names: Names) -> Group:
    beside = [raw["accessory"]] if raw.get("accessory") else []
    return Group(*render_components([*(raw.get("components") or ()), *beside], display_names))


def _render_container(raw: Json, names: Names) -> Prefixed:
    return with_color_bar(Group(*render_components(raw.get("components") or (), display_names)), raw.get("accent_color"))


def _render_media(raw: Json, _names: Names) -> Text:
    items = raw.get("items") or [raw]
    urls = [str((item.get("media") or item.get("file") or {}).get("url", "")) for item in items]
    return Text("\n").join(Text(f"▣ {escape_line(url)}", "dim") for url in urls)


_RENDERERS: Final[dict[int, Callable[[Json, Names], RenderableType]]] = {
    1: _render_row,
    2: _render_button,
    **dict.fromkeys(_SELECTS, _render_select),
    9: _render_section,
    10: lambda raw, names: render_markdown(str(raw.get("content", "")), display_names),
    11: _render_media,
    12: _render_media,
    13: _render_media,
    14: lambda _raw, _names: Text("─" * 20, "dim"),
    17: _render_container,
}


def render_modal(form: ModalSchema) -> Panel:
    """The form that a bot opened, with the name of each field as ``submit`` wants it."""
    lines: list[Text] = []
    for field in form.fields:
        lines += _render_input(field)
    return Panel(
        Text("\n").join(lines),
        title=Text(escape_line(form.title), "bold"),
        title_align="left",
        subtitle=Text("* must be filled", "dim") if any(field.required for field in form.fields) else None,
        subtitle_align="left",
        width=60,
    )


def _render_input(field: FormField) -> list[Text]:
    label = Text(escape_line(field.label or field.custom_id), "bold")
    label.append(" *" if field.required else "", "red")
    if field.typed == field.custom_id:
        label.append(f"  {escape_line(field.custom_id)}", "not bold dim")
    if field.value:
        return [label, *(Text("│ " + escape_line(line)) for line in field.value.split("\n"))]
    choices = ", ".join(str(option.get("label")) for option in field.options)
    return [label, Text("│ " + escape_line(f"one of: {choices}" if choices else field.placeholder or ""), "dim")]
