"""Reactions of bots and people to messages (Discord: Message resource > Reaction Object)."""

from __future__ import annotations

import unicodedata
from typing import Any

from botctl.sandbox.actions import threads
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, missing_permissions
from botctl.sandbox.model.world import Message, World
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_EMOJI_MAX = 20  # per message
_EMOJI_LENGTH_MAX = 20  # code points; a flag of a region has 7, a family 11
_EMOJI_BLOCK = range(0x1F000, 0x1FB00)  # includes emoji that are too new for Python's `unicodedata`
_OTHER_EMOJI = frozenset(
    "‼⁉↔▶◀↕↖↗↘↙↩↪⤴⤵◻◼◽◾〰\N{INFORMATION SOURCE}#*0123456789"
)  # emoji that Unicode does not call symbols, and the keys 0️⃣ to 9️⃣, #️⃣ and *️⃣
_COMBINING = frozenset({0x200D, 0xFE0F, 0x20E3, *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080)})


def parse_emoji(world: World, text: str, guild_id: str, granted: int) -> str:
    """``👍`` or ``name:id``. Raises 10014 (unknown, or of another guild, which ``granted`` does not allow)."""
    name, _, emoji_id = text.removeprefix("<").removesuffix(">").removeprefix("a:").lstrip(":").rpartition(":")
    if not name:
        if not is_emoji(text):
            raise _unknown_emoji()
        return text
    home = next((guild for guild in world.guilds.values() if emoji_id in guild.emojis), None)
    if home is None or (home.id != guild_id and not granted & permission_bits.BITS["USE_EXTERNAL_EMOJIS"]):
        raise _unknown_emoji()
    return f"{home.emojis[emoji_id].name}:{emoji_id}"


def is_emoji(text: str) -> bool:
    """Whether this is a Unicode emoji; other symbols that are pictures are accepted too."""
    if not 0 < len(text) <= _EMOJI_LENGTH_MAX:
        return False
    base = [character for character in text if ord(character) not in _COMBINING]
    if base and all(character in "#*0123456789" for character in base):
        return text.endswith("\N{COMBINING ENCLOSING KEYCAP}") and len(base) == 1
    return bool(base) and all(
        character in _OTHER_EMOJI or ord(character) in _EMOJI_BLOCK or unicodedata.category(character) == "So"
        for character in base
    )


def add(sandbox: Sandbox, message: Message, user_id: str, emoji: str, *, granted: int) -> None:
    """``granted``: the user's permission bits. Raises 50013 (not enough), 30010 (too many emoji), 50083 (archived)."""
    threads.check_not_archived(sandbox.world.channels[message.channel_id])
    if not granted & permission_bits.HISTORY or not (
        emoji in message.reactions or granted & permission_bits.BITS["ADD_REACTIONS"]
    ):
        raise missing_permissions()
    if emoji not in message.reactions and len(message.reactions) >= _EMOJI_MAX:
        raise ApiError(400, 30010, f"Maximum number of reactions reached ({_EMOJI_MAX})")
    givers = message.reactions.setdefault(emoji, [])
    if user_id in givers:
        return
    givers.append(user_id)
    event = _reaction_event(user_id, emoji)
    if not message.webhook_id:
        event["message_author_id"] = message.author_id
    if message.guild_id:
        member = sandbox.world.guilds[message.guild_id].members[user_id]
        event["member"] = payloads.member(member, sandbox.world)
    _emit(sandbox, "MESSAGE_REACTION_ADD", message, event)


def remove(sandbox: Sandbox, message: Message, user_id: str, emoji: str) -> None:
    """Remove a reaction. Raises 10014 (unknown emoji) if there is none."""
    threads.check_not_archived(sandbox.world.channels[message.channel_id])
    givers = message.reactions.get(emoji)
    if givers is None:
        raise _unknown_emoji()
    if user_id not in givers:
        return
    givers.remove(user_id)
    if not givers:
        del message.reactions[emoji]
    _emit(sandbox, "MESSAGE_REACTION_REMOVE", message, _reaction_event(user_id, emoji))


def clear(sandbox: Sandbox, message: Message, emoji: str | None = None) -> None:
    threads.check_not_archived(sandbox.world.channels[message.channel_id])
    if emoji is None:
        message.reactions.clear()
        _emit(sandbox, "MESSAGE_REACTION_REMOVE_ALL", message, {})
    elif message.reactions.pop(emoji, None) is not None:
        event = {"emoji": payloads.reaction_emoji(emoji)}
        _emit(sandbox, "MESSAGE_REACTION_REMOVE_EMOJI", message, event)


def _reaction_event(user_id: str, emoji: str) -> Json:
    return {"user_id": user_id, "emoji": payloads.reaction_emoji(emoji), "burst": False, "type": 0}


def _emit(sandbox: Sandbox, event: str, message: Message, fields: Json) -> None:
    location = {"channel_id": message.channel_id, "message_id": message.id}
    location |= {"guild_id": message.guild_id} if message.guild_id else {}
    channel = sandbox.world.channels[message.channel_id]
    sandbox.emit(event, location | fields, message.guild_id or None, channel=channel)
    sandbox.changed()


def _unknown_emoji() -> ApiError:
    return ApiError(400, 10014, "Unknown Emoji")
