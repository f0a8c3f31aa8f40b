"""The guilds, people, channels and roles of a test, and what a person can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import disnake

from botctl.sandbox import acts, changes, lookup, payloads, permissions, talk, world
from botctl.sandbox.actor import Actor, member_in
from botctl.sandbox.interactions import Interaction
from botctl.sandbox.server import Sandbox
from botctl.sandbox.testing.failures import Failed, listed, plainly
from botctl.sandbox.testing.replies import Message, Reply

if TYPE_CHECKING:
    from botctl.sandbox.testing.discord import Discord

Permissions = int | disnake.Permissions | Iterable[str]
"""``["kick_members"]``, ``disnake.Permissions(kick_members=True)`` or their bits."""


@dataclass(frozen=True)
class Role:
    """A role of a guild."""

    id: str
    name: str

    @property
    def mention(self) -> str:
        return f"<@&{self.id}>"


@dataclass(frozen=True)
class Channel:
    """A text channel of a guild."""

    discord: Discord = field(repr=False)
    id: str
    name: str

    @property
    def mention(self) -> str:
        return f"<#{self.id}>"

    @property
    def messages(self) -> list[Message]:
        """What everybody sees in it, oldest first."""
        shown = self.discord.sandbox.world.messages.get(self.id, {})
        return [Message(self.discord, None, self.id, one.id) for one in shown.values() if one.only_for is None]


@dataclass(frozen=True)
class Guild:
    """A guild. What is asked for by a name and is not there yet is made."""

    discord: Discord = field(repr=False)
    id: str

    @property
    def name(self) -> str:
        return self._stored.name

    def member(
        self,
        name: str,
        *,
        roles: Sequence[str | Role] = (),
        permissions: Permissions | None = None,
        nick: str | None = None,
        locale: str | None = None,
        id: int | str | None = None,  # noqa: A002 - what Discord calls it
    ) -> Member:
        """The member ``name``, with ``roles`` besides those they have; ``permissions`` by a role of their own."""
        __tracebackhide__ = True
        role_ids = list(map(self._role, roles))
        if permissions is not None:
            role_ids.append(self.role(f"{name} may", permissions=permissions).id)
        found = lookup.member_or_none(self._world, self._stored, name)
        if found is None:
            self._change("add_member", name=name, roles=role_ids, nick=nick, locale=locale, id=id)
            found = lookup.member(self._world, self._stored, name)
        for role_id in role_ids:
            self._change("give_role", member=found.user_id, role=role_id)
        user = self._world.users[found.user_id]
        user.locale = locale or user.locale
        found.nick = nick or found.nick
        return Member(self.discord, self.id, user.id, user.name, lookup.channel(self._stored, None).id)

    def role(self, name: str, *, permissions: Permissions | None = None, id: int | str | None = None) -> Role:  # noqa: A002
        """The role ``name``; ``permissions`` are what it grants from now on."""
        found = lookup.role_or_none(self._stored, name)
        if found is None:
            made = self._change("add_role", name=name, permissions=bits(permissions or ()), id=id)
            found = self._stored.roles[made["id"]]
        elif permissions is not None:
            self._grant(found, bits(permissions))
        return Role(found.id, found.name)

    def channel(self, name: str, *, id: int | str | None = None) -> Channel:  # noqa: A002
        """The text channel ``name``."""
        found = lookup.channel_or_none(self._stored, name)
        made = found.id if found else str(self._change("add_channel", name=name, id=id)["id"])
        return Channel(self.discord, made, self._stored.channels[made].name)

    def bot_may(self, permissions: Permissions) -> None:
        """From now on the bot has these permissions here, and those of @everyone."""
        app_id = self.discord.application_id
        self._grant(next(role for role in self._stored.roles.values() if role.bot_id == app_id), bits(permissions))

    @property
    def _world(self) -> world.World:
        return self.discord.sandbox.world

    @property
    def _stored(self) -> world.Guild:
        return self._world.guilds[self.id]

    def _change(self, what: str, **said: Any) -> Mapping[str, Any]:
        __tracebackhide__ = True
        return plainly(lambda: changes.apply(self.discord.sandbox, what, {**said, "guild": self.id}))

    def _role(self, wanted: str | Role) -> str:
        __tracebackhide__ = True
        if isinstance(wanted, Role):
            return wanted.id
        found = lookup.role_or_none(self._stored, wanted)
        if found is None:
            there = listed([role.name for role in self._stored.roles.values() if role.id != self.id])
            raise Failed(f"{self.name} has no role “{wanted}”; it has {there}. Make one: guild.role({wanted!r}).")
        return found.id

    def _grant(self, role: world.Role, granted: int) -> None:
        role.permissions = granted
        self.discord.sandbox.emit("GUILD_ROLE_UPDATE", {"guild_id": self.id, "role": payloads.role(role)}, self.id)


@dataclass(frozen=True)
class Member:
    """A person in a guild, who stands in one of its channels (`at` another one, `in_dm` with the bot)."""

    discord: Discord = field(repr=False)
    guild_id: str
    id: str
    name: str
    channel_id: str
    patient: bool = True

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def at(self, channel: str | Channel) -> Member:
        """The same person in another channel."""
        __tracebackhide__ = True
        guild = self.discord.sandbox.world.guilds[self.guild_id]
        wanted = channel.id if isinstance(channel, Channel) else channel
        return replace(self, channel_id=plainly(lambda: lookup.channel(guild, wanted)).id)

    @property
    def in_dm(self) -> Member:
        """The same person in the DM with the bot."""
        return replace(self, channel_id=self.discord.sandbox.world.direct(self.id, self.discord.application_id).id)

    @property
    def impatient(self) -> Member:
        """The same person, who waits for the bot's first word only: “thinking…” is one."""
        return replace(self, patient=False)

    async def slash(self, command: str, /, **options: Any) -> Reply:
        """Use ``/command`` (sub-commands after it) and wait for the answer.

        A value is what a person would type, or a member, role or channel; a file is its path.
        """
        __tracebackhide__ = True
        body = {"type": "slash", "name": command, "options": _words(options)}
        return await self.discord.ask(
            self, f"/{command.removeprefix('/')}", lambda who: acts.invoke(self._sandbox, who, body)
        )

    async def user_command(self, command: str, target: Member | str) -> Reply:
        """Use ``command`` of the menu on a person."""
        __tracebackhide__ = True
        body = {"type": "user", "name": command, "target": _word(target)}
        return await self.discord.ask(self, f"“{command}”", lambda who: acts.invoke(self._sandbox, who, body))

    async def message_command(self, command: str, target: Message) -> Reply:
        """Use ``command`` of the menu on a message."""
        __tracebackhide__ = True
        here = replace(self, channel_id=target.channel_id)
        body = {"type": "message", "name": command, "target": target.id}
        return await self.discord.ask(here, f"“{command}”", lambda who: acts.invoke(self._sandbox, who, body))

    async def autocomplete(self, command: str, /, **options: Any) -> dict[str, Any]:
        """What is offered while the last of ``options`` is being typed: names, as they are shown, to values."""
        __tracebackhide__ = True
        focused, value = list(_words(options).items())[-1]
        body = {"name": command, "focused": focused, "value": value, "options": _words(options)}
        asked = plainly(lambda: acts.complete(self._sandbox, self.actor, body))
        if isinstance(asked, Interaction):
            await self.discord.answered(asked, f"“{focused}” of /{command.removeprefix('/')}", patient=True)
            asked = asked.choices or []
        return {str(choice["name"]): choice["value"] for choice in asked}

    async def message(self, text: str, *, channel: str | Channel | None = None) -> Message:
        """Say ``text``; the bot's answer, if it gives one, is ``await message.answer()``."""
        __tracebackhide__ = True
        here = self if channel is None else self.at(channel)
        said = plainly(lambda: talk.say(self._sandbox, here.actor, text))
        return Message(self.discord, here, said.channel_id, said.id)

    async def dm(self, text: str) -> Message:
        """Say ``text`` to the bot alone."""
        return await self.in_dm.message(text)

    async def react(self, message: Message, emoji: str) -> None:
        """Put ``emoji`` under a message."""
        __tracebackhide__ = True
        here = replace(self, channel_id=message.channel_id)
        plainly(lambda: talk.react(self._sandbox, here.actor, emoji, message.id))

    @property
    def actor(self) -> Actor:
        """Who the sandbox takes this person for."""
        known = self._sandbox.world
        channel = known.channels[self.channel_id]
        if not channel.guild_id:
            return Actor(known.users[self.id], channel, None, None)
        guild = known.guilds[channel.guild_id]
        return member_in(known, guild, guild.members[self.id], channel)

    @property
    def _sandbox(self) -> Sandbox:
        return self.discord.sandbox


def bits(wanted: Permissions) -> int:
    """The permissions as Discord's bit field."""
    __tracebackhide__ = True
    if isinstance(wanted, int):
        return wanted
    if isinstance(wanted, disnake.Permissions):
        return wanted.value
    try:
        return permissions.bits(*wanted)
    except KeyError as error:
        raise Failed(f"There is no permission {error}.") from None


def _words(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: _word(value) for name, value in options.items()}


def _word(value: Any) -> str:
    """``value`` as a person would type it."""
    if isinstance(value, Member | Role | Channel) or hasattr(value, "mention"):
        return str(value.id)
    return str(value.resolve()) if isinstance(value, Path) else str(value)
