"""What a person sees, as the control API shows it: messages and the reply to what they did."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.model.messages import components
from botctl.sandbox.model.world import Message, World

Json = dict[str, Any]
SILENT = "The application did not respond"
_EMPTY: Json = {"interaction": None, "waited_ms": 0.0, "messages": [], "modal": None, "error": None}


def message(one: Message, world: World) -> Json:
    full = payloads.message(one, world)
    author = full["author"]
    invoked = one.invoked
    return {
        "id": one.id,
        "type": one.type,
        "channel": world.channels[one.channel_id].name,
        "author": {"id": author["id"], "name": author["username"], "bot": author.get("bot", False)},
        "content": one.content,
        "ephemeral": payloads.is_ephemeral(one),
        "for": one.only_for,
        "embeds": full["embeds"],
        "components": one.components,
        "attachments": [{key: a[key] for key in ("filename", "size", "url")} for a in full["attachments"]],
        "reactions": [{"emoji": _emoji(key), "count": len(users)} for key, users in one.reactions.items() if users],
        "reply_to": _answered(one, world),
        "edited": one.edited_at is not None,
        "interaction": {"user": world.users[invoked["user_id"]].name, "name": invoked["name"]} if invoked else None,
    }


def _emoji(key: str) -> str:
    """The character, or ``:name:`` of a guild's own."""
    name, colon, _ = key.partition(":")
    return f":{name}:" if colon else name


def _answered(one: Message, world: World) -> str | None:
    answered = world.message(one.channel_id, one.reply_to or "")
    return world.users[answered.author_id].name if answered and answered.author_id in world.users else None


def modal(interaction: Interaction) -> Json | None:
    body = interaction.modal
    if body is None:
        return None
    return {"id": interaction.id, "title": body["title"], "fields": components.modal_fields(body["components"])}


def reply(interaction: Interaction, world: World, waited_ms: float) -> Json:
    """The reply of an interaction as it stands."""
    ids: list[str | None] = [interaction.original_id, *interaction.followups]
    if interaction.state is InteractionState.DEFERRED_UPDATE and not interaction.edited:
        ids = [*interaction.followups]
    found = [world.message(interaction.channel_id, one) for one in ids if one]
    return {
        "interaction": interaction.id,
        "state": _seen_state(interaction),
        "waited_ms": round(waited_ms, 3),
        "messages": [message(one, world) for one in found if one],
        "modal": modal(interaction),
        "error": SILENT if interaction.state is InteractionState.WAITING else None,
    }


def said(one: Message, world: World) -> Json:
    """A person's own plain message, in the form of a reply."""
    return {**_EMPTY, "state": str(InteractionState.REPLIED), "messages": [message(one, world)]}


def refused(sentence: str) -> Json:
    """What Discord's own client says instead of sending."""
    return {**_EMPTY, "state": "refused", "error": sentence}


def _seen_state(interaction: Interaction) -> str:
    if interaction.state is not InteractionState.DEFERRED_UPDATE:
        return str(interaction.state)
    if interaction.edited:
        return str(InteractionState.UPDATED)
    return str(InteractionState.REPLIED if interaction.followups else InteractionState.DEFERRED_UPDATE)
