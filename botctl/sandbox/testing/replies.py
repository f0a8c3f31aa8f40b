"""Messages, replies and forms (modals) of the bot, with their components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import disnake

from botctl.sandbox.actions import user_interactions
from botctl.sandbox.model import payloads, world
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.model.messages import components
from botctl.sandbox.testing.failures import Failed, quote_names
from botctl.sandbox.testing.watched_bot import WatchedBot

Json = dict[str, Any]


class MessageReader(Protocol):
    """The user who reads a message and uses its buttons and menus: `people.Member`."""

    async def start_interaction(
        self, description: str, action: Callable[[ActingUser], Interaction], *, channel_id: str
    ) -> Reply:
        """Let ``action`` send an interaction, and wait for the answer; ``description`` names it in a failure."""


class Message:
    """A message in its current state, so edits show here too.

    ``discord``: the bot under test, with its sandbox. ``reader``: the user who uses the message's components.
    """

    def __init__(
        self, discord: WatchedBot, reader: MessageReader | None, channel_id: str, message_id: str | None
    ) -> None:
        self.discord = discord
        self.reader = reader
        self.channel_id = channel_id
        self._message_id = message_id
        self._last_state = self._state()

    @property
    def id(self) -> str:
        return self._message_id or self._stored.id

    @property
    def content(self) -> str:
        return self._stored.content

    @property
    def embeds(self) -> list[disnake.Embed]:
        return [disnake.Embed.from_dict(item) for item in self._json["embeds"]]

    @property
    def components(self) -> list[Json]:
        """Discord's JSON: rows and their components."""
        return self._stored.components

    @property
    def attachments(self) -> list[str]:
        """The file names."""
        return [str(item["filename"]) for item in self._stored.attachments]

    @property
    def author(self) -> str:
        """The author's name."""
        return str(self._json["author"]["username"])

    @property
    def reactions(self) -> dict[str, int]:
        """The count of each emoji."""
        return {emoji: len(users) for emoji, users in self._stored.reactions.items()}

    @property
    def pinned(self) -> bool:
        return self._stored.pinned_at is not None

    @property
    def ephemeral(self) -> bool:
        return payloads.is_ephemeral(self._stored)

    @property
    def thinking(self) -> bool:
        """Whether the bot has deferred it and not edited it yet: “thinking…”."""
        return bool(self._stored.flags & world.LOADING)

    @property
    def deleted(self) -> bool:
        return self._message_or_none is None

    def button(self, name: str) -> Button:
        """Find a button by label or custom id."""
        __tracebackhide__ = True
        return Button(self, self._component("button", name, {components.BUTTON}))

    def select(self, name: str | None = None) -> Select:
        """Find a select menu by placeholder or custom id; without a name, the first one."""
        __tracebackhide__ = True
        return Select(self, self._component("menu", name, components.SELECTS))

    async def edited(self) -> Self:
        """Wait for an edit or deletion by the bot since this object was made, or since `edited` last returned."""
        __tracebackhide__ = True
        await self.discord.wait_for(lambda: self._state() != self._last_state, "did not edit its message", self._source)
        self._last_state = self._state()
        return self

    async def answer(self) -> Message:
        """Wait for the bot's next message in the channel and return it."""
        __tracebackhide__ = True
        answers: list[str] = []
        question = "its message" if self.deleted else f"“{self.content}”"

        def is_answered() -> bool:
            messages = self.discord.sandbox.world.messages.get(self.channel_id, {}).values()
            bot_id = self.discord.application_id
            answers[:] = [item.id for item in messages if item.author_id == bot_id and int(item.id) > int(self.id)]
            return bool(answers)

        await self.discord.wait_for(is_answered, f"sent nothing after {question}")
        return Message(self.discord, self.reader, self.channel_id, answers[0])

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} deleted>"
            if self._message_or_none is None
            else f"<{type(self).__name__} {self.content!r}>"
        )

    @property
    def _source(self) -> Interaction | None:
        """The interaction whose handler edits this message."""
        return None

    @property
    def _message_or_none(self) -> world.Message | None:
        return self.discord.sandbox.world.message(self.channel_id, self._message_id or "")

    @property
    def _stored(self) -> world.Message:
        __tracebackhide__ = True
        if self._message_or_none is None:
            raise Failed("The message was deleted.")
        return self._message_or_none

    @property
    def _json(self) -> Json:
        return payloads.message(self._stored, self.discord.sandbox.world)

    def _state(self) -> object:
        message = self._message_or_none
        return message and (message.edited_at, message.flags)

    def _component(self, kind: str, name: str | None, types: set[int] | frozenset[int]) -> Json:
        __tracebackhide__ = True
        candidates = [item for item in components.clickable(self.components) if item["type"] in types]
        wanted = (name or "").casefold()
        for item in candidates:
            if name in (None, item.get("custom_id")) or components.display_name(item).casefold() == wanted:
                return item
        names = quote_names([components.display_name(item) for item in candidates])
        raise Failed(f"The message has no {kind}{f' “{name}”' if name else ''}; there are: {names}.")


class Reply(Message):
    """The bot's answer to an interaction of ``reader``."""

    def __init__(self, discord: WatchedBot, reader: MessageReader, interaction: Interaction) -> None:
        self._interaction = interaction
        super().__init__(discord, reader, interaction.channel_id, None)

    @property
    def modal(self) -> Modal:
        """The form (modal) that the bot opened."""
        __tracebackhide__ = True
        if self._interaction.modal is None or self.reader is None:
            raise Failed("The bot did not open a form.")
        return Modal(self.discord, self.reader, self._interaction)

    @property
    def followups(self) -> list[Message]:
        interaction = self._interaction
        return [Message(self.discord, self.reader, interaction.channel_id, item) for item in interaction.followups]

    async def followup(self, number: int = 1) -> Message:
        """Wait for a follow-up message; ``number`` 1 is the first."""
        __tracebackhide__ = True
        interaction = self._interaction
        await self.discord.wait_for(lambda: len(interaction.followups) >= number, "did not follow up", interaction)
        return self.followups[number - 1]

    @property
    def _source(self) -> Interaction:
        return self._interaction

    @property
    def _message_or_none(self) -> world.Message | None:
        return self.discord.sandbox.world.message(self.channel_id, self._interaction.original_id or "")

    @property
    def _stored(self) -> world.Message:
        __tracebackhide__ = True
        if self._interaction.state is InteractionState.MODAL:
            raise Failed("The bot answered with a form instead of a message: use reply.modal.")
        return super()._stored


@dataclass(frozen=True)
class Button:
    message: Message
    raw: Json  # Discord's JSON of the component

    @property
    def label(self) -> str:
        return components.display_name(self.raw)

    @property
    def custom_id(self) -> str | None:
        return self.raw.get("custom_id")

    @property
    def disabled(self) -> bool:
        return bool(self.raw.get("disabled"))

    async def click(self, as_: MessageReader | None = None) -> Reply:
        """Click and wait for the answer; with ``as_``, another member clicks."""
        __tracebackhide__ = True
        return await _press(self.message, self.raw, f"a click on “{self.label}”", as_, [])


@dataclass(frozen=True)
class Select:
    message: Message
    raw: Json  # Discord's JSON of the component

    @property
    def options(self) -> list[str]:
        """The labels of a string select."""
        return [str(item["label"]) for item in self.raw.get("options", [])]

    async def choose(self, *values: Any, as_: MessageReader | None = None) -> Reply:
        """Choose ``values`` (labels or values; members, roles or channels) and wait for the answer."""
        __tracebackhide__ = True
        chosen = [str(getattr(value, "id", value)) for value in values]
        return await _press(self.message, self.raw, f"a choice in “{components.display_name(self.raw)}”", as_, chosen)


@dataclass(frozen=True)
class Modal:
    """A form (modal) that is open for ``reader``."""

    discord: WatchedBot = field(repr=False)
    reader: MessageReader = field(repr=False)
    interaction: Interaction = field(repr=False)

    @property
    def title(self) -> str:
        return str(self._body["title"])

    @property
    def fields(self) -> list[str]:
        """The labels."""
        return [str(item["label"]) for item in components.modal_fields(self._body["components"])]

    async def submit(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> Reply:
        """Submit ``values`` by custom id or label, and wait for the answer."""
        __tracebackhide__ = True
        interaction = self.interaction
        body = {"modal": interaction.id, "fields": {**(values or {}), **more}}
        return await self.reader.start_interaction(
            f"the form “{self.title}”",
            lambda user: user_interactions.submit_modal(self.discord.sandbox, user, body),
            channel_id=interaction.channel_id,
        )

    @property
    def _body(self) -> Json:
        return self.interaction.modal or {}


async def _press(message: Message, raw: Json, description: str, as_: MessageReader | None, values: list[str]) -> Reply:
    __tracebackhide__ = True
    reader = as_ or message.reader
    if reader is None:
        raise Failed("Name the member who presses it: as_=…")
    sandbox = message.discord.sandbox
    body = {"message": message.id, "component": raw.get("custom_id") or components.display_name(raw), "values": values}
    return await reader.start_interaction(
        description, lambda user: user_interactions.click(sandbox, user, body), channel_id=message.channel_id
    )
