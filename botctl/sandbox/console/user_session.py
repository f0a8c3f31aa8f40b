"""A user in the sandbox: their identity, the open modal, and their actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.console.client import REPLY_TIMEOUT_S, Identity, SandboxClient
from botctl.sandbox.console.command_parser import MenuCall, SlashCall, insert_mentions, parse_menu, parse_slash
from botctl.sandbox.console.schemas import GuildSchema, MessageSchema, ModalSchema, ReplySchema, StateSchema
from botctl.sandbox.model.messages.components import SELECTS, find


class UserSession:
    """A user in a channel. Actions raise Unreachable if the sandbox does not answer, BotctlError if it refuses them."""

    def __init__(self, client: SandboxClient, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.client = client
        self.identity = identity
        self.timeout_s = timeout_s
        self.state = StateSchema()
        self.modal: ModalSchema | None = None  # the open one

    @property
    def guild(self) -> GuildSchema | None:
        return self.state.guild(self.identity.guild)

    @property
    def locale(self) -> str:
        users = [member for member in self.guild.members if not member.bot] if self.guild else []
        return next((user.locale for user in users if self.identity.name in {None, user.name, user.id}), "")

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The commands of this place, with their names in the user's language."""
        return self.state.commands_in(self.guild, self.locale)

    async def refresh(self) -> StateSchema:
        self.state = await self.client.state(self.identity)
        return self.state

    @property
    def location(self) -> str:
        """The channel or DM partner, for display."""
        return f"@{self.identity.dm}" if self.identity.dm else f"#{self.identity.channel}"

    def with_mentions(self, text: str) -> str:
        """Replace names in ``text`` by mentions, as Discord's client does."""
        guild = self.guild
        if guild is None:
            return text
        mentions = {f"@{role.name.removeprefix('@')}": f"<@&{role.id}>" for role in guild.roles if role.id != guild.id}
        mentions |= {f"@{member.name}": f"<@{member.id}>" for member in guild.members}
        mentions |= {f"#{channel.name}": f"<#{channel.id}>" for channel in (*guild.channels, *guild.threads)}
        return insert_mentions(text, {name.casefold(): mention for name, mention in mentions.items()})

    async def resolve_defaults(self) -> None:
        """Take the guild's first user and first channel when the identity names none."""
        await self.refresh()
        users = [member.name for member in self.guild.members if not member.bot] if self.guild else []
        channels = [channel.name for channel in self.guild.channels] if self.guild else []
        self.identity = replace(
            self.identity,
            name=self.identity.name or next(iter(users), None),
            channel=self.identity.channel or next(iter(channels), None),
        )

    async def send_line(self, text: str) -> ReplySchema:
        """Use a slash command, or post the text in the channel."""
        if not text.startswith("/"):
            return await self.send(text)
        await self.refresh()
        return await self.send(parse_slash(text, self.commands))

    async def use_menu(self, name: str, target: str) -> ReplySchema:
        """Use a context menu command on a user ("@ann") or on a message (its id, or "last")."""
        await self.refresh()
        return await self.send(parse_menu(name, target, self.commands))

    async def send(self, invocation: SlashCall | MenuCall | str) -> ReplySchema:
        """Use a command, or post a text even if it looks like a command."""
        invocation = self.with_mentions(invocation) if isinstance(invocation, str) else invocation
        return self._remember_modal(await self.client.send(invocation, self.identity, timeout_s=self.timeout_s))

    async def click(
        self, component: str, values: Sequence[str] | None = None, message: str | None = None
    ) -> ReplySchema:
        """Click a button or choose in a select menu; ``values`` may be the displayed numbers of its options."""
        if values:
            values = resolve_numbers(await self.client.messages(self.identity), component, values, message)
        return self._remember_modal(
            await self.client.click(component, self.identity, message=message, values=values, timeout_s=self.timeout_s)
        )

    async def submit(self, fields: Mapping[str, str], modal: str | None = None) -> ReplySchema:
        modal = modal or (self.modal.id if self.modal else None)
        return self._remember_modal(
            await self.client.submit(fields, self.identity, modal=modal, timeout_s=self.timeout_s)
        )

    def _remember_modal(self, reply: ReplySchema) -> ReplySchema:
        self.modal = reply.modal
        return reply


def resolve_numbers(
    messages: Sequence[MessageSchema], component: str, values: Sequence[str], message: str | None = None
) -> list[str]:
    """Replace displayed numbers by the select menu's values, unless an option has that number as its name."""
    candidates = [item for item in messages if item.components and message in {None, item.id}]
    try:
        select = find(list(candidates[-1].components), component) if candidates else {}
    except UsageError:
        return list(values)  # the sandbox reports the error
    options = select.get("options") or [] if select.get("type") in SELECTS else []
    names = {str(option[key]) for option in options for key in ("label", "value")}
    numbers = {str(number): str(option["value"]) for number, option in enumerate(options, 1)}
    return [value if value in names else numbers.get(value, value) for value in values]
