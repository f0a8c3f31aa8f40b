"""A person in the sandbox: who they are, where they are, what form is open; and what they can do there."""

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
    """One person in one channel. ``identity``, ``state`` and ``modal`` (the modal that is open) may be read any time.

    Everything raises Unreachable when no sandbox answers, and BotctlError with a sentence when it refuses.
    """

    def __init__(self, client: SandboxClient, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.client = client
        self.identity = identity
        self.timeout_s = timeout_s
        self.state = StateSchema()
        self.modal: ModalSchema | None = None

    @property
    def guild(self) -> GuildSchema | None:
        return self.state.guild(self.identity.guild)

    @property
    def locale(self) -> str:
        """The language of this person's client."""
        people = [one for one in self.guild.members if not one.bot] if self.guild else []
        return next((one.locale for one in people if self.identity.name in {None, one.name, one.id}), "")

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The commands that there are where they are, as they are called in their language."""
        return self.state.commands_in(self.guild, self.locale)

    async def refresh(self) -> StateSchema:
        """Ask the sandbox what there is: bots, commands, people."""
        self.state = await self.client.state(self.identity)
        return self.state

    @property
    def location(self) -> str:
        """Where they are, as it is shown."""
        return f"@{self.identity.dm}" if self.identity.dm else f"#{self.identity.channel}"

    def with_mentions(self, text: str) -> str:
        """``text`` with mentions instead of names, as Discord's client makes them."""
        guild = self.guild
        if guild is None:
            return text
        named = {f"@{one.name.removeprefix('@')}": f"<@&{one.id}>" for one in guild.roles if one.id != guild.id}
        named |= {f"@{one.name}": f"<@{one.id}>" for one in guild.members}
        named |= {f"#{one.name}": f"<#{one.id}>" for one in (*guild.channels, *guild.threads)}
        return insert_mentions(text, {name.casefold(): mention for name, mention in named.items()})

    async def resolve_defaults(self) -> None:
        """Take the first person and channel of the guild where the seat names none."""
        await self.refresh()
        people = [member.name for member in self.guild.members if not member.bot] if self.guild else []
        channels = [channel.name for channel in self.guild.channels] if self.guild else []
        self.identity = replace(
            self.identity,
            name=self.identity.name or next(iter(people), None),
            channel=self.identity.channel or next(iter(channels), None),
        )

    async def send_line(self, text: str) -> ReplySchema:
        """Use the slash command that ``text`` is, or say it in the channel."""
        if not text.startswith("/"):
            return await self.send(text)
        await self.refresh()
        return await self.send(parse_slash(text, self.commands))

    async def use_menu(self, name: str, target: str) -> ReplySchema:
        """Use a context menu's command on a person ("@ann") or on a message (its id, or "last")."""
        await self.refresh()
        return await self.send(parse_menu(name, target, self.commands))

    async def send(self, what: SlashCall | MenuCall | str) -> ReplySchema:
        """Use a command, or say a text as it is."""
        what = self.with_mentions(what) if isinstance(what, str) else what
        return self._remember_modal(await self.client.send(what, self.identity, timeout_s=self.timeout_s))

    async def click(
        self, component: str, values: Sequence[str] | None = None, message: str | None = None
    ) -> ReplySchema:
        """Press a button or choose in a select; ``values`` may be the numbers at which its options are shown."""
        if values:
            values = resolve_numbers(await self.client.messages(self.identity), component, values, message)
        return self._remember_modal(
            await self.client.click(component, self.identity, message=message, values=values, timeout_s=self.timeout_s)
        )

    async def submit(self, fields: Mapping[str, str], modal: str | None = None) -> ReplySchema:
        """Send the form that is open, or the one with the id ``modal``."""
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
    """``values`` with each number put for the option that a message shows at it, unless an option is called so."""
    shown = [each for each in messages if each.components and message in {None, each.id}]
    try:
        select = find(list(shown[-1].components), component) if shown else {}
    except UsageError:
        return list(values)  # the sandbox says what is wrong with it
    options = select.get("options") or [] if select.get("type") in SELECTS else []
    called = {str(option[key]) for option in options for key in ("label", "value")}
    numbers = {str(number): str(option["value"]) for number, option in enumerate(options, 1)}
    return [value if value in called else numbers.get(value, value) for value in values]
