"""What the control port tells the person's side: the state of the sandbox, messages, modals, replies.

Fields that are not named here are kept as they came, so that ``--json`` shows everything the sandbox said.
Embeds, components and command options stay Discord's own JSON: their shape is Discord's business, not ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = Mapping[str, Any]


class Shape(BaseModel):
    """JSON from the control port; unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Author(Shape):
    id: str
    name: str
    bot: bool = False


class Attachment(Shape):
    """A file with a message; ``size`` is in bytes."""

    filename: str
    size: int = 0
    url: str = ""


class Origin(Shape):
    """The interaction that a message answers: who used what."""

    user: str
    name: str | None = None


class Message(Shape):
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
    edited: bool = False
    interaction: Origin | None = None


class Messages(Shape):
    messages: Sequence[Message] = ()


class Choice(Shape):
    """A suggestion of the bot for the value of an option."""

    name: str
    value: str | float


class Choices(Shape):
    choices: Sequence[Choice] = ()


class FormField(Shape):
    """One input of a modal; ``style`` 1 is one line, 2 is a paragraph (Discord: Components > Text Input)."""

    custom_id: str
    label: str = ""
    style: int = 1
    required: bool = True
    value: str | None = None
    placeholder: str | None = None
    options: Sequence[dict[str, Any]] = ()


class Modal(Shape):
    id: str
    title: str = ""
    fields: Sequence[FormField] = ()


class Reply(Shape):
    """What came of an interaction by the time its answer, or the limit for it, was there."""

    interaction: str | None = None
    state: Literal["replied", "deferred", "modal", "updated", "deferred_update", "no_answer", "refused"]
    waited_ms: float = 0.0
    messages: Sequence[Message] = ()
    modal: Modal | None = None
    error: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the person got what a click or a command is for. A bot still "thinking" has not answered."""
        return self.state not in {"deferred", "no_answer", "refused"}


class Place(Shape):
    """A channel or a role: something with an id and a name."""

    id: str
    name: str


class Member(Shape):
    id: str
    name: str
    bot: bool = False
    roles: Sequence[str] = ()


class Guild(Shape):
    id: str
    name: str
    channels: Sequence[Place] = ()
    roles: Sequence[Place] = ()
    members: Sequence[Member] = ()


class Application(Shape):
    """A bot that has logged in to the sandbox at least once."""

    application_id: str
    name: str = ""
    connected: bool = False


class State(Shape):
    guilds: Sequence[Guild] = ()
    commands: Sequence[dict[str, Any]] = ()
    bots: Sequence[Application] = ()

    def guild(self, name: str | None) -> Guild | None:
        """The guild with this name or id; the first one when ``name`` is None."""
        return next((guild for guild in self.guilds if name is None or name in {guild.name, guild.id}), None)

    def commands_in(self, guild: Guild | None) -> list[dict[str, Any]]:
        """The commands that can be used in ``guild``: its own before the global ones, which they shadow."""
        own = [command for command in self.commands if guild and command.get("guild_id") == guild.id]
        shadowed = {(command["name"], command.get("type", 1)) for command in own}
        common = [command for command in self.commands if not command.get("guild_id")]
        return own + [command for command in common if (command["name"], command.get("type", 1)) not in shadowed]
