"""Messages for bots without the intent MESSAGE_CONTENT (Discord: Gateway > Message Content Intent)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_NO_CONTENT: Json = {"content": "", "embeds": [], "attachments": [], "components": []}


def without_intent(message: Json, bot_id: str) -> Json:
    """A guild's message without content, unless the bot ``bot_id`` wrote it or is mentioned.

    The same applies to the messages inside it: the one replied to, and those forwarded.
    """
    readable = message["author"]["id"] == bot_id or any(mention["id"] == bot_id for mention in message["mentions"])
    seen = message if readable else message | _NO_CONTENT
    if referenced := message.get("referenced_message"):
        seen = seen | {"referenced_message": without_intent(referenced, bot_id)}
    if not readable and (snapshots := message.get("message_snapshots")):
        seen = seen | {
            "message_snapshots": [{**snapshot, "message": snapshot["message"] | _NO_CONTENT} for snapshot in snapshots]
        }
    return seen
