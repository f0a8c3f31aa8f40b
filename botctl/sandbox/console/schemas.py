"""Schemas of the control API's responses: state, messages, modals, replies.

Fields that are not named here are kept, so that ``--json`` shows the whole response. Embeds, components and command
options stay Discord's own JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = Mapping[str, Any]

_GENERATED_ID = re.compile("[0-9a-f]{32}")  # disnake, discord.py, nextcord: os.urandom(16).hex()


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Author(Schema):
    id: str
    name: str
    bot: bool = False


class Attachment(Schema):
    """A file with a message; ``size`` is in bytes."""

    filename: str
    size: int = 0
    url: str = ""


class InvocationSchema(Schema):
    """The interaction that a message answers: its user and the command's name."""

    user: str
    name: str | None = None


class Reaction(Schema):
    """``emoji`` is the character, or the name of a custom emoji."""

    emoji: str
    count: int = 1


class MessageSchema(Schema):
    id: str
    type: int = 0  # Discord: Message resource > Message Types
    channel: str = ""
    author: Author
    content: str = ""
    ephemeral: bool = False
    only_for: str | None = Field(None, alias="for")  # the id of the only user who sees it
    embeds: Sequence[dict[str, Any]] = ()
    components: Sequence[dict[str, Any]] = ()
    attachments: Sequence[Attachment] = ()
    reactions: Sequence[Reaction] = ()
    reply_to: str | None = None  # the author of the message that this one replies to
    edited: bool = False
    interaction: InvocationSchema | None = None  # what the message responds to


class Messages(Schema):
    messages: Sequence[MessageSchema] = ()


class Choice(Schema):
    name: str
    value: str | float


class Choices(Schema):
    choices: Sequence[Choice] = ()


class ModalField(Schema):
    custom_id: str
    label: str = ""
    style: int = 1  # 1 is one line, 2 is a paragraph (Discord: Components > Text Input)
    required: bool = True
    value: str | None = None
    placeholder: str | None = None
    options: Sequence[dict[str, Any]] = ()

    @property
    def input_name(self) -> str:
        """The name that a user types: the custom id, or the label when a library generated the id."""
        by_label = _GENERATED_ID.fullmatch(self.custom_id) and self.label and "=" not in self.label
        return self.label if by_label else self.custom_id


class ModalSchema(Schema):
    id: str
    title: str = ""
    fields: Sequence[ModalField] = ()


class ReplySchema(Schema):
    """The result of a user's action, when the bot has responded or the wait for it has timed out."""

    interaction: str | None = None  # its id
    # After a click: "updated" (its message has changed) or "deferred_update" (not yet). "refused": nothing was sent.
    state: Literal["replied", "deferred", "modal", "updated", "deferred_update", "no_answer", "refused"]
    waited_ms: float = 0.0  # until the response
    messages: Sequence[MessageSchema] = ()  # new and changed ones
    modal: ModalSchema | None = None
    error: str | None = None  # why it was refused

    @property
    def answered(self) -> bool:
        """Whether the bot has responded. A bot that is still "thinking" has not."""
        return self.state not in {"deferred", "no_answer", "refused"}


class NamedSchema(Schema):
    """A channel, thread or role."""

    id: str
    name: str


class MemberSchema(Schema):
    id: str
    name: str
    bot: bool = False
    locale: str = ""
    roles: Sequence[str] = ()


class GuildSchema(Schema):
    id: str
    name: str
    channels: Sequence[NamedSchema] = ()
    threads: Sequence[NamedSchema] = ()
    roles: Sequence[NamedSchema] = ()
    members: Sequence[MemberSchema] = ()


class ApplicationSchema(Schema):
    """A bot that has logged in at least once."""

    application_id: str
    name: str = ""
    connected: bool = False

    @property
    def input_name(self) -> str:
        """The name that a user types: the id when the bot's name has spaces."""
        return self.application_id if not self.name or len(self.name.split()) > 1 else self.name


class StateSchema(Schema):
    guilds: Sequence[GuildSchema] = ()
    commands: Sequence[dict[str, Any]] = ()
    bots: Sequence[ApplicationSchema] = ()

    def guild(self, name: str | None) -> GuildSchema | None:
        """The guild with this name or id; the first one when ``name`` is None."""
        return next((guild for guild in self.guilds if name is None or name in {guild.name, guild.id}), None)

    def commands_in(self, guild: GuildSchema | None, locale: str = "") -> list[dict[str, Any]]:
        """The commands that can be used in ``guild``. A guild command hides the bot's global one of the same name.

        The key ``bot`` is the name of the bot. When two bots have the same command, each is named ``name@bot``. Names
        are translated to ``locale``; a translated command keeps its original name in the key ``own``.
        """
        own = [command for command in self.commands if guild and command.get("guild_id") == guild.id]
        shadowed = {_command_key(command) for command in own}
        shared = [
            command
            for command in self.commands
            if not command.get("guild_id") and _command_key(command) not in shadowed
        ]
        bots = {bot.application_id: bot.input_name for bot in self.bots}
        named = [
            {**_localize(command, locale), "bot": bots.get(str(command.get("application_id")), "")}
            for command in own + shared
        ]
        counts = Counter((item["name"], item.get("type", 1)) for item in named if not item.get("hidden"))
        return [
            {**item, "name": qualified_name(item)} if counts[item["name"], item.get("type", 1)] > 1 else item
            for item in named
        ]


def qualified_name(command: Json) -> str:
    return f"{command['name']}@{command['bot']}"


def _localize(node: Json, locale: str) -> dict[str, Any]:
    """Translate a command, option or choice, with its children (Discord: Application Commands > Localization)."""
    localized = {**node}
    for key in ("name", "description"):
        if text := (node.get(f"{key}_localizations") or {}).get(locale):
            localized[key] = text
    if localized["name"] != node["name"]:
        localized["own"] = node["name"]
    for key in ("options", "choices"):
        if node.get(key):
            localized[key] = [_localize(inner, locale) for inner in node[key]]
    return localized


def _command_key(command: Json) -> tuple[Any, ...]:
    return command.get("application_id"), command["name"], command.get("type", 1)
