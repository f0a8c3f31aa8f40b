"""Message content for bots without the intent (Discord: Gateway > Message Content Intent). Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_NOTHING: Json = {"content": "", "embeds": [], "attachments": [], "components": []}


def without_intent(message: Json, me: str) -> Json:
    """A guild's message without content, unless the bot ``me`` wrote it or is mentioned.

    The same applies to each message inside it.
    """
    readable = message["author"]["id"] == me or any(mention["id"] == me for mention in message["mentions"])
    seen = message if readable else message | _NOTHING
    if referenced := message.get("referenced_message"):
        seen = seen | {"referenced_message": without_intent(referenced, me)}
    if not readable and (snapshots := message.get("message_snapshots")):
        seen = seen | {
            "message_snapshots": [{**snapshot, "message": snapshot["message"] | _NOTHING} for snapshot in snapshots]
        }
    return seen
