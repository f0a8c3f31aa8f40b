"""The members of a guild in a test, and their actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from botctl.sandbox.actions import user_interactions, user_messages, world_changes
from botctl.sandbox.model import lookup, permissions, world
from botctl.sandbox.model.acting_user import ActingUser, actor_in
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.testing.failures import Failed, translate_errors
from botctl.sandbox.testing.places import Channel
from botctl.sandbox.testing.replies import Message, Reply
from botctl.sandbox.testing.watched_bot import WatchedBot


@dataclass(frozen=True)
class Member:
    """A guild member in one of its channels; `at` and `in_dm` give the same member elsewhere."""

    discord: WatchedBot = field(repr=False)
    guild_id: str
    id: str
    name: str
    channel_id: str  # where the member acts
    patient: bool = True  # wait for the edit of “thinking…”; else it counts as the answer

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def at(self, channel: str | Channel) -> Member:
        __tracebackhide__ = True
        guild = self.discord.sandbox.world.guilds[self.guild_id]
        wanted = channel if isinstance(channel, str) else channel.id
        return replace(self, channel_id=translate_errors(lambda: lookup.channel(guild, wanted)).id)

    @property
    def in_dm(self) -> Member:
        """The same member in the DM with the bot."""
        return replace(
            self, channel_id=self.discord.sandbox.world.direct_channel(self.id, self.discord.application_id).id
        )

    @property
    def impatient(self) -> Member:
        """The same member, for whom any response counts as the answer, “thinking…” too."""
        return replace(self, patient=False)

    @property
    def in_guild(self) -> bool:
        return self.id in self._guild.members

    @property
    def banned(self) -> bool:
        return self.id in self._guild.bans

    @property
    def timed_out(self) -> bool:
        return permissions.is_timed_out(self._sandbox.world, self._member)

    @property
    def roles(self) -> list[str]:
        """The names of the roles, without @everyone."""
        return [self._guild.roles[role_id].name for role_id in self._member.roles]

    @property
    def nick(self) -> str | None:
        return self._member.nick

    @property
    def messages(self) -> list[Message]:
        """The visible messages of the channel, oldest first."""
        messages = self._sandbox.world.messages.get(self.channel_id, {})
        visible = [message.id for message in messages.values() if message.only_for in (None, self.id)]
        return [Message(self.discord, self, self.channel_id, message_id) for message_id in visible]

    async def slash(self, command: str, /, **options: Any) -> Reply:
        """Use ``/command``, with sub-commands if any, and wait for the answer.

        A value is the text that a user types, or a member, role or channel; a file is given by its path.
        """
        __tracebackhide__ = True
        if ":" in command:
            raise Failed('Pass each option as a keyword argument: slash("/roll", sides=20).')
        body = {"type": "slash", "name": command, "options": _option_texts(options)}
        return await self.start_interaction(
            f"/{command.removeprefix('/')}", lambda user: user_interactions.invoke(self._sandbox, user, body)
        )

    async def user_command(self, command: str, target: Member | str) -> Reply:
        """Use a user command (of the context menu) on a member."""
        __tracebackhide__ = True
        body = {"type": "user", "name": command, "target": _option_text(target)}
        return await self.start_interaction(
            f"“{command}”", lambda user: user_interactions.invoke(self._sandbox, user, body)
        )

    async def message_command(self, command: str, target: Message) -> Reply:
        """Use a message command (of the context menu) on a message."""
        __tracebackhide__ = True
        body = {"type": "message", "name": command, "target": target.id}
        return await self.start_interaction(
            f"“{command}”",
            lambda user: user_interactions.invoke(self._sandbox, user, body),
            channel_id=target.channel_id,
        )

    async def autocomplete(self, command: str, /, **options: Any) -> dict[str, Any]:
        """Return the choices for the last of ``options``, as a mapping of displayed names to values."""
        __tracebackhide__ = True
        focused, value = list(_option_texts(options).items())[-1]
        body = {"name": command, "focused": focused, "value": value, "options": _option_texts(options)}
        interaction = translate_errors(lambda: user_interactions.autocomplete(self._sandbox, self.actor, body))
        if isinstance(interaction, Interaction):
            await self.discord.wait_for_answer(
                interaction, f"“{focused}” of /{command.removeprefix('/')}", patient=True
            )
            interaction = interaction.choices or []
        return {str(choice["name"]): choice["value"] for choice in interaction}

    async def message(
        self, text: str, *, channel: str | Channel | None = None, reply_to: Message | None = None
    ) -> Message:
        """Post ``text``; ``await message.answer()`` returns the bot's answer."""
        __tracebackhide__ = True
        member = self if channel is None else self.at(channel)
        reply_to_id = None if reply_to is None else reply_to.id
        message = translate_errors(lambda: user_messages.send(self._sandbox, member.actor, text, reply_to=reply_to_id))
        return Message(self.discord, member, message.channel_id, message.id)

    async def dm(self, text: str) -> Message:
        return await self.in_dm.message(text)

    async def react(self, message: Message, emoji: str, *, remove: bool = False) -> None:
        """Add the reaction ``emoji``, or remove it."""
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.react(self._sandbox, member.actor, emoji, message.id, remove=remove))

    async def edit(self, message: Message, text: str) -> None:
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.edit(self._sandbox, member.actor, text, message.id))

    async def delete(self, message: Message) -> None:
        """Delete a message: the member's own, or any with the permission MANAGE_MESSAGES."""
        __tracebackhide__ = True
        member = replace(self, channel_id=message.channel_id)
        translate_errors(lambda: user_messages.delete(self._sandbox, member.actor, message.id))

    async def leave(self) -> None:
        """Leave the guild; `Guild.member` lets the member join again."""
        __tracebackhide__ = True
        translate_errors(
            lambda: world_changes.apply(self._sandbox, "remove_member", {"guild": self.guild_id, "member": self.id})
        )

    async def start_interaction(
        self, description: str, action: Callable[[ActingUser], Interaction], *, channel_id: str | None = None
    ) -> Reply:
        """Let ``action`` send an interaction, and wait for the answer; ``description`` names it in a failure."""
        __tracebackhide__ = True
        member = self if channel_id is None else replace(self, channel_id=channel_id)
        interaction = translate_errors(lambda: action(member.actor))
        await self.discord.wait_for_answer(interaction, description, patient=self.patient)
        return Reply(self.discord, member, interaction)

    @property
    def actor(self) -> ActingUser:
        """The member as the sandbox's acting user."""
        state = self._sandbox.world
        channel = state.channels[self.channel_id]
        if not channel.guild_id:
            return ActingUser(state.users[self.id], channel, None, None)
        guild = state.guilds[channel.guild_id]
        return actor_in(state, guild, guild.members[self.id], channel)

    @property
    def _guild(self) -> world.Guild:
        return self._sandbox.world.guilds[self.guild_id]

    @property
    def _member(self) -> world.Member:
        """The member as the sandbox stores it; fails when they have left the guild."""
        __tracebackhide__ = True
        return translate_errors(lambda: lookup.member(self._sandbox.world, self._guild, self.id))

    @property
    def _sandbox(self) -> Sandbox:
        return self.discord.sandbox


def _option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: _option_text(value) for name, value in options.items()}


def _option_text(value: Any) -> str:
    """Convert ``value`` to the text that a user types."""
    if hasattr(value, "mention"):
        return str(value.id)
    return str(value.resolve()) if isinstance(value, Path) else str(value)
