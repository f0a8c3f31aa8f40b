"""What the control port tells the person's side: the state of the sandbox, messages, modals, replies.

Fields that are not named here are kept as they came, so that ``--json`` shows everything the sandbox said.
Embeds, components and command options stay Discord's own JSON: their shape is Discord's business, not ours.
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
    """JSON from the control port; unknown fields are kept."""

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
    """The interaction that a message answers: who used what."""

    user: str
    name: str | None = None


class Reaction(Schema):
    """``emoji`` is the character, or the name of the guild's own."""

    emoji: str
    count: int = 1


class MessageSchema(Schema):
    """A message as one person sees it; ``only_for`` is that person's id where nobody else can."""

    id: str
    type: int = 0  # Discord: Message resource > Message Types
    channel: str = ""
    author: Author
    content: str = ""
    ephemeral: bool = False
    only_for: str | None = Field(None, alias="for")
    embeds: Sequence[dict[str, Any]] = ()
    components: Sequence[dict[str, Any]] = ()
    attachments: Sequence[Attachment] = ()
    reactions: Sequence[Reaction] = ()
    reply_to: str | None = None  # who said what this answers
    edited: bool = False
    interaction: InvocationSchema | None = None


class Messages(Schema):
    messages: Sequence[MessageSchema] = ()


class Choice(Schema):
    """A suggestion of the bot for the value of an option."""

    name: str
    value: str | float


class Choices(Schema):
    choices: Sequence[Choice] = ()


class FormField(Schema):
    """One input of a modal; ``style`` 1 is one line, 2 is a paragraph (Discord: Components > Text Input)."""

    custom_id: str
    label: str = ""
    style: int = 1
    required: bool = True
    value: str | None = None
    placeholder: str | None = None
    options: Sequence[dict[str, Any]] = ()

    @property
    def input_name(self) -> str:
        """What a person types to mean it: its custom id, or its label where a library has made that id up."""
        by_label = _GENERATED_ID.fullmatch(self.custom_id) and self.label and "=" not in self.label
        return self.label if by_label else self.custom_id


class ModalSchema(Schema):
    id: str
    title: str = ""
    fields: Sequence[FormField] = ()


class ReplySchema(Schema):
    """What came of an interaction by the time its answer, or the limit for it, was there."""

    interaction: str | None = None
    state: Literal["replied", "deferred", "modal", "updated", "deferred_update", "no_answer", "refused"]
    waited_ms: float = 0.0
    messages: Sequence[MessageSchema] = ()
    modal: ModalSchema | None = None
    error: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the person got what a click or a command is for. A bot still "thinking" has not answered."""
        return self.state not in {"deferred", "no_answer", "refused"}


class NamedSchema(Schema):
    """A channel, a thread or a role: something with an id and a name."""

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
    """A bot that has logged in to the sandbox at least once."""

    application_id: str
    name: str = ""
    connected: bool = False

    @property
    def input_name(self) -> str:
        """What a person types to mean it: its name, unless that has blanks."""
        return self.application_id if not self.name or len(self.name.split()) > 1 else self.name


class StateSchema(Schema):
    guilds: Sequence[GuildSchema] = ()
    commands: Sequence[dict[str, Any]] = ()
    bots: Sequence[ApplicationSchema] = ()

    def guild(self, name: str | None) -> GuildSchema | None:
        """The guild with this name or id; the first one when ``name`` is None."""
        return next((guild for guild in self.guilds if name is None or name in {guild.name, guild.id}), None)

    def commands_in(self, guild: GuildSchema | None, locale: str = "") -> list[dict[str, Any]]:
        """The commands that can be used in ``guild``: its own before the global ones, which they shadow.

        Each has the name of its ``bot``. Where two bots have a command of one name, each is called ``name@bot``.
        They are called as clients in ``locale`` show them; what is translated has its own name as ``own``.
        """
        own = [command for command in self.commands if guild and command.get("guild_id") == guild.id]
        shadowed = {_command_key(command) for command in own}
        common = [one for one in self.commands if not one.get("guild_id") and _command_key(one) not in shadowed]
        bots = {bot.application_id: bot.input_name for bot in self.bots}
        named = [
            {**_localize(one, locale), "bot": bots.get(str(one.get("application_id")), "")} for one in own + common
        ]
        seen = Counter((one["name"], one.get("type", 1)) for one in named if not one.get("hidden"))
        return [
            {**one, "name": qualified_name(one)} if seen[one["name"], one.get("type", 1)] > 1 else one for one in named
        ]


def qualified_name(command: Json) -> str:
    """The name that no other bot's command has."""
    return f"{command['name']}@{command['bot']}"


def _localize(one: Json, locale: str) -> dict[str, Any]:
    """A command, option or choice with all within it (Discord: Application Commands > Localization)."""
    said = {**one}
    for key in ("name", "description"):
        if words := (one.get(f"{key}_localizations") or {}).get(locale):
            said[key] = words
    if said["name"] != one["name"]:
        said["own"] = one["name"]
    for key in ("options", "choices"):
        if one.get(key):
            said[key] = [_localize(inner, locale) for inner in one[key]]
    return said


def _command_key(command: Json) -> tuple[Any, ...]:
    return command.get("application_id"), command["name"], command.get("type", 1)
