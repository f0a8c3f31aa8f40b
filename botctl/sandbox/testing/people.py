"""The people of a test, and what they can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from botctl.sandbox.actions import user_interactions, user_messages, world_changes
from botctl.sandbox.model import lookup, permissions, world
from botctl.sandbox.model.acting_user import ActingUser, member_in
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.server import Sandbox
from botctl.sandbox.testing.failures import Failed, translate_errors
from botctl.sandbox.testing.places import Channel
from botctl.sandbox.testing.replies import Message, Reply
from botctl.sandbox.testing.watched_bot import WatchedBot


@dataclass(frozen=True)
class Member:
    """A person in a guild, who stands in one of its channels (`at` another one, `in_dm` with the bot)."""

    discord: WatchedBot = field(repr=False)
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
        wanted = channel if isinstance(channel, str) else channel.id
        return replace(self, channel_id=translate_errors(lambda: lookup.channel(guild, wanted)).id)

    @property
    def in_dm(self) -> Member:
        """The same person in the DM with the bot."""
        return replace(self, channel_id=self.discord.sandbox.world.direct(self.id, self.discord.application_id).id)

    @property
    def impatient(self) -> Member:
        """The same person, who waits for the bot's first word only: “thinking…” is one."""
        return replace(self, patient=False)

    @property
    def in_guild(self) -> bool:
        """Are they a member (still)?"""
        return self.id in self._guild.members

    @property
    def banned(self) -> bool:
        return self.id in self._guild.bans

    @property
    def timed_out(self) -> bool:
        return permissions.timed_out(self._sandbox.world, self._member)

    @property
    def roles(self) -> list[str]:
        """The names of their roles, without @everyone."""
        return [self._guild.roles[item].name for item in self._member.roles]

    @property
    def nick(self) -> str | None:
        return self._member.nick

    @property
    def messages(self) -> list[Message]:
        """What they see where they stand, oldest first."""
        messages = self._sandbox.world.messages.get(self.channel_id, {})
        visible = [item.id for item in messages.values() if item.only_for in (None, self.id)]
        return [Message(self.discord, self, self.channel_id, item) for item in visible]

    async def slash(self, command: str, /, **options: Any) -> Reply:
        """Use ``/command`` (sub-commands after it) and wait for the answer.

        A value is what a person would type, or a member, role or channel; a file is its path.
        """
        __tracebackhide__ = True
        if ":" in command:
            raise Failed('A command\'s options are arguments, each by its name: slash("/roll", sides=20).')
        body = {"type": "slash", "name": command, "options": _option_texts(options)}
        return await self.start_interaction(
            f"/{command.removeprefix('/')}", lambda user: user_interactions.invoke(self._sandbox, user, body)
        )

    async def user_command(self, command: str, target: Member | str) -> Reply:
        """Use ``command`` of the menu on a person."""
        __tracebackhide__ = True
        body = {"type": "user", "name": command, "target": _option_text(target)}
        return await self.start_interaction(
            f"“{command}”", lambda user: user_interactions.invoke(self._sandbox, user, body)
        )

    async def message_command(self, command: str, target: Message) -> Reply:
        """Use ``command`` of the menu on a message."""
        __tracebackhide__ = True
        body = {"type": "message", "name": command, "target": target.id}
        return await self.start_interaction(
            f"“{command}”",
            lambda user: user_interactions.invoke(self._sandbox, user, body),
            channel_id=target.channel_id,
        )

    async def autocomplete(self, command: str, /, **options: Any) -> dict[str, Any]:
        """What is offered while the last of ``options`` is being typed: names, as they are shown, to values."""
        __tracebackhide__ = True
        focused, value = list(_option_texts(options).items())[-1]
        body = {"name": command, "focused": focused, "value": value, "options": _option_texts(options)}
        interaction = translate_errors(lambda: user_interactions.complete(self._sandbox, self.actor, body))
        if isinstance(interaction, Interaction):
            await self.discord.wait_for_answer(
                interaction, f"“{focused}” of /{command.removeprefix('/')}", patient=True
            )
            interaction = interaction.choices or []
        return {str(choice["name"]): choice["value"] for choice in interaction}

    async def message(
        self, text: str, *, channel: str | Channel | None = None, reply_to: Message | None = None
    ) -> Message:
        """Say ``text``; the bot's answer, if it gives one, is ``await message.answer()``."""
        __tracebackhide__ = True
        member = self if channel is None else self.at(channel)
        wait_for_answer = None if reply_to is None else reply_to.id
        message = translate_errors(
            lambda: user_messages.say(self._sandbox, member.actor, text, reply_to=wait_for_answer)
        )
        return Message(self.discord, member, message.channel_id, message.id)

    async def dm(self, text: str) -> Message:
        """Say ``text`` to the bot alone."""
        return await self.in_dm.message(text)

    async def react(self, message: Message, emoji: str, *, remove: bool = False) -> None:
        """Put ``emoji`` under a message, or take it back."""
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.react(self._sandbox, member.actor, emoji, message.id, remove=remove))

    async def edit(self, message: Message, text: str) -> None:
        """Change what they said."""
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.edit(self._sandbox, member.actor, text, message.id))

    async def delete(self, message: Message) -> None:
        """Delete what they said, or what others said if they may."""
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.delete(self._sandbox, member.actor, message.id))

    async def leave(self) -> None:
        """Leave the guild; `Guild.member` lets them join again."""
        __tracebackhide__ = True
        translate_errors(
            lambda: world_changes.apply(self._sandbox, "remove_member", {"guild": self.guild_id, "member": self.id})
        )

    async def start_interaction(
        self, description: str, action: Callable[[ActingUser], Interaction], *, channel_id: str | None = None
    ) -> Reply:
        """Put an act to the bot, where they stand or in another channel, and wait for its answer."""
        __tracebackhide__ = True
        member = self if channel_id is None else replace(self, channel_id=channel_id)
        interaction = translate_errors(lambda: action(member.actor))
        await self.discord.wait_for_answer(interaction, description, patient=self.patient)
        return Reply(self.discord, member, interaction)

    @property
    def actor(self) -> ActingUser:
        """Who the sandbox takes this person for."""
        world_now = self._sandbox.world
        channel = world_now.channels[self.channel_id]
        if not channel.guild_id:
            return ActingUser(world_now.users[self.id], channel, None, None)
        guild = world_now.guilds[channel.guild_id]
        return member_in(world_now, guild, guild.members[self.id], channel)

    @property
    def _guild(self) -> world.Guild:
        return self._sandbox.world.guilds[self.guild_id]

    @property
    def _member(self) -> world.Member:
        """As the guild has them; fails when they are not in it."""
        __tracebackhide__ = True
        return translate_errors(lambda: lookup.member(self._sandbox.world, self._guild, self.id))

    @property
    def _sandbox(self) -> Sandbox:
        return self.discord.sandbox


def _option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: _option_text(value) for name, value in options.items()}


def _option_text(value: Any) -> str:
    """``value`` as a person would type it."""
    if hasattr(value, "mention"):
        return str(value.id)
    return str(value.resolve()) if isinstance(value, Path) else str(value)
