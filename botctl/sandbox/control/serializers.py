"""Messages and replies (the results of a person's action) in the JSON of the control API, as that person sees them."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.model.messages import components
from botctl.sandbox.model.world import Message, World

Json = dict[str, Any]
NO_RESPONSE = "The application did not respond"
_EMPTY_REPLY: Json = {"interaction": None, "waited_ms": 0.0, "messages": [], "modal": None, "error": None}


def message(item: Message, world: World) -> Json:
    full = payloads.message(item, world)
    author = full["author"]
    invoked = item.invoked
    return {
        "id": item.id,
        "type": item.type,
        "channel": world.channels[item.channel_id].name,
        "author": {"id": author["id"], "name": author["username"], "bot": author.get("bot", False)},
        "content": item.content,
        "ephemeral": payloads.is_ephemeral(item),
        "for": item.only_for,
        "embeds": full["embeds"],
        "components": item.components,
        "attachments": [
            {key: attachment[key] for key in ("filename", "size", "url")} for attachment in full["attachments"]
        ],
        "reactions": [
            {"emoji": _emoji_text(key), "count": len(users)} for key, users in item.reactions.items() if users
        ],
        "reply_to": _replied_author(item, world),
        "edited": item.edited_at is not None,
        "interaction": {"user": world.users[invoked["user_id"]].name, "name": invoked["name"]} if invoked else None,
    }


def _emoji_text(key: str) -> str:
    """The character, or ``:name:`` of a custom emoji."""
    name, colon, _ = key.partition(":")
    return f":{name}:" if colon else name


def _replied_author(item: Message, world: World) -> str | None:
    answered = world.message(item.channel_id, item.reply_to or "")
    return world.users[answered.author_id].name if answered and answered.author_id in world.users else None


def modal(interaction: Interaction) -> Json | None:
    data = interaction.modal
    if data is None:
        return None
    return {"id": interaction.id, "title": data["title"], "fields": components.modal_fields(data["components"])}


def reply(interaction: Interaction, world: World, waited_ms: float) -> Json:
    ids: list[str | None] = [interaction.original_id, *interaction.followups]
    if interaction.state is InteractionState.DEFERRED_UPDATE and not interaction.edited:
        ids = [*interaction.followups]
    messages = [world.message(interaction.channel_id, message_id) for message_id in ids if message_id]
    return {
        "interaction": interaction.id,
        "state": _visible_state(interaction),
        "waited_ms": round(waited_ms, 3),
        "messages": [message(found, world) for found in messages if found],
        "modal": modal(interaction),
        "error": NO_RESPONSE if interaction.state is InteractionState.WAITING else None,
    }


def message_reply(item: Message, world: World) -> Json:
    """A message that a person has posted, in the shape of `reply`."""
    return {**_EMPTY_REPLY, "state": str(InteractionState.REPLIED), "messages": [message(item, world)]}


def rejected_reply(sentence: str) -> Json:
    """The reply for input that Discord's own client would not send."""
    return {**_EMPTY_REPLY, "state": "refused", "error": sentence}


def _visible_state(interaction: Interaction) -> str:
    if interaction.state is not InteractionState.DEFERRED_UPDATE:
        return str(interaction.state)
    if interaction.edited:
        return str(InteractionState.UPDATED)
    return str(InteractionState.REPLIED if interaction.followups else InteractionState.DEFERRED_UPDATE)
