"""Who a message mentions (Discord: Message resource > Allowed Mentions Object)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.messages import components
from botctl.sandbox.model.world import Message, World

Json = dict[str, Any]
_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_EVERYONE = re.compile(r"@(?:everyone|here)\b")
_KINDS = ("users", "roles", "everyone")
_IDS_MAX = 100


@dataclass(frozen=True)
class AllowedMentions:
    """Allowed: all mentions of ``kinds``, the ``users`` and ``roles``; with ``replied`` the user replied to."""

    kinds: frozenset[str] = frozenset(_KINDS)
    users: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    replied: bool = True


ALL_MENTIONS = AllowedMentions()  # the default of messages
USER_MENTIONS = AllowedMentions(frozenset({"users"}))  # the default of interaction responses


def parse_allowed(body: Json, errors: FormErrors, default: AllowedMentions) -> AllowedMentions:
    """The ``allowed_mentions`` of ``body``, or ``default``."""
    item = errors.field((), body, "allowed_mentions", dict)
    if item is None:
        return default
    path = ("allowed_mentions",)
    kinds = errors.field(path, item, "parse", list) or []
    for index, value in enumerate(kinds):
        if value not in _KINDS:
            choices = ", ".join(f"'{kind}'" for kind in _KINDS)
            errors.add((*path, "parse", index), "BASE_TYPE_CHOICES", f"Value must be one of ({choices}).")
            return default
    named = {name: frozenset(errors.snowflakes(path, item, name, _IDS_MAX)) for name in ("users", "roles")}
    for name, ids in named.items():
        if ids and name in kinds:
            words = f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.'
            errors.add(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", words)
    replied = errors.field(path, item, "replied_user", bool) or False
    return AllowedMentions(frozenset(kinds), named["users"], named["roles"], replied)


def set_mentions(world: World, message: Message, allowed: AllowedMentions) -> None:
    """Set the mentions of ``message``, as far as ``allowed`` and its author's permissions permit."""
    text = _readable_text(message)
    message.mentions, message.mention_roles, message.mention_everyone = [], [], False
    if "@" in text:
        user_ids = dict.fromkeys(_USER.findall(text))
        message.mentions = [
            user_id
            for user_id in user_ids
            if user_id in world.users and ("users" in allowed.kinds or user_id in allowed.users)
        ]
        _set_group_mentions(world, message, text, allowed)
    if message.reply_to and allowed.replied:
        referenced = world.message(message.channel_id, message.reply_to)
        if referenced is not None and not referenced.webhook_id and referenced.author_id not in message.mentions:
            message.mentions.append(referenced.author_id)


def _set_group_mentions(world: World, message: Message, text: str, allowed: AllowedMentions) -> None:
    """Roles and everyone: all of them if the author has MENTION_EVERYONE, else only mentionable roles."""
    guild = world.guilds.get(message.guild_id)
    roles, everyone = dict.fromkeys(_ROLE.findall(text)), _EVERYONE.search(text)
    if guild is None or not (roles or everyone):
        return
    may_mention = message.webhook_id is not None or _may_mention_groups(world, message)
    message.mention_everyone = bool(everyone) and may_mention and "everyone" in allowed.kinds
    message.mention_roles = [
        role
        for role in roles
        if role in guild.roles
        and (may_mention or guild.roles[role].mentionable)
        and ("roles" in allowed.kinds or role in allowed.roles)
    ]


def _may_mention_groups(world: World, message: Message) -> bool:
    guild = world.guilds[message.guild_id]
    author, channel = guild.members.get(message.author_id), world.channels.get(message.channel_id)
    if author is None or channel is None:
        return False
    return bool(permissions.compute(world, guild, author, channel) & permission_bits.BITS["MENTION_EVERYONE"])


def _readable_text(message: Message) -> str:
    """The content, or the text in V2 components."""
    if not message.flags & components.V2:
        return message.content
    return "\n".join(
        component["content"]
        for component in components.walk(message.components)
        if component["type"] == components.TEXT
    )
