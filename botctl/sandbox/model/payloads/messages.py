"""The JSON of messages, attachments and reactions (Discord: Message resource)."""

from __future__ import annotations

import copy
from typing import Any
from urllib.parse import quote

from botctl.sandbox.model.messages import component_schema, components
from botctl.sandbox.model.payloads.channels import thread
from botctl.sandbox.model.payloads.users import partial_member, user
from botctl.sandbox.model.world import EPHEMERAL, Message, World

Json = dict[str, Any]
HAS_THREAD = 1 << 5  # Discord: Message resource > Message Flags
_TYPES_WITH_REFERENCED = frozenset({19, 21})  # message types reply and thread starter: they contain the other message


def message(message: Message, world: World, *, viewer: str = "") -> Json:
    """A message in responses; ``viewer``: the bot that receives it; its own reactions get ``me: true``."""
    payload: Json = {
        "id": message.id,
        "type": message.type,
        "channel_id": message.channel_id,
        "author": _webhook_author(message, world) if message.webhook_id else user(world.users[message.author_id]),
        "content": message.content,
        "timestamp": message.timestamp,
        "edited_timestamp": message.edited_at,
        "tts": message.tts,
        "mention_everyone": message.mention_everyone,
        "mentions": [user(world.users[user_id]) for user_id in message.mentions if user_id in world.users],
        "mention_roles": message.mention_roles,
        "attachments": [attachment(stored, message.channel_id, world) for stored in message.attachments],
        "embeds": _embeds(message, world),
        "components": _components(message, world),
        "pinned": message.pinned_at is not None,
        "flags": message.flags,
    }
    if message.application_id:
        payload |= {"application_id": message.application_id, "webhook_id": message.application_id}
    if message.reactions:
        payload["reactions"] = _reactions(message, viewer)
    if message.webhook_id:
        payload["webhook_id"] = message.webhook_id
    if message.nonce is not None:
        payload["nonce"] = message.nonce
    if message.invoked:
        payload |= _interaction_fields(message.invoked, message, world)
    if message.reply_to or message.reference:
        payload |= _reference_fields(message, world)
    if message.flags & HAS_THREAD and (begun := world.channels.get(message.id)) and begun.thread:
        payload["thread"] = thread(begun, begun.thread, viewer=viewer)
    return payload


def message_event(target: Message, world: World) -> Json:
    """A message in a gateway event: with the guild's id and the author as ``member``."""
    payload = message(target, world)
    if not target.guild_id:
        return payload
    payload["guild_id"] = target.guild_id
    members = world.guilds[target.guild_id].members
    for mentioned in payload["mentions"]:
        if mentioned["id"] in members:
            mentioned["member"] = partial_member(members[mentioned["id"]])
    author = members.get(target.author_id)
    return {**payload, "member": partial_member(author)} if author else payload


def _webhook_author(message: Message, world: World) -> Json:
    """The author of a webhook's message: no user of the world; its id is the webhook's."""
    hook = world.webhooks.get(message.webhook_id or "")
    return {
        "id": message.webhook_id,
        "username": message.name or (hook.name if hook else "Deleted Webhook"),
        "discriminator": "0000",
        "global_name": None,
        "avatar": message.avatar or (hook.avatar if hook else None),
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
        "bot": True,
    }


def attachment(stored: Json, channel_id: str, world: World) -> Json:
    name = quote(stored["filename"], safe="", errors="replace")
    url = f"{world.url}/cdn/attachments/{channel_id}/{stored['id']}/{name}"
    return {**stored, "url": url, "proxy_url": url}


def _reactions(message: Message, viewer: str) -> list[Json]:
    return [
        {
            "emoji": reaction_emoji(key),
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me_burst": False,
            "me": viewer in users,
        }
        for key, users in message.reactions.items()
    ]


def reaction_emoji(key: str) -> Json:
    """The emoji of a reaction; ``key`` is ``👍`` or ``name:id``, as in `Message.reactions`."""
    name, _, emoji_id = key.partition(":")
    return {"id": emoji_id or None, "name": name}


def is_ephemeral(message: Message) -> bool:
    return bool(message.flags & EPHEMERAL)


def _embeds(message: Message, world: World) -> list[Json]:
    if not message.attachments or not message.embeds:
        return message.embeds
    urls = _attachment_urls(message, world)
    return [
        {
            key: {**value, "url": urls.get(value["url"], value["url"])} if _has_url(value) else value
            for key, value in embed.items()
        }
        for embed in message.embeds
    ]


def _components(message: Message, world: World) -> list[Json]:
    if not message.flags & components.V2:
        return message.components
    urls, payload = _attachment_urls(message, world), copy.deepcopy(message.components)
    sent = {f"attachment://{a['filename']}": {"name": a["filename"], "size": a["size"]} for a in message.attachments}
    for file in components.walk(payload):
        if file["type"] == components.FILE:
            file.update(sent.get(file["file"]["url"], {}))
    for number, media in enumerate(component_schema.media_items(payload), start=1):
        url = urls.get(media["url"], media["url"])
        media |= {"id": str(number), "url": url, "proxy_url": url}
    return payload


def _attachment_urls(message: Message, world: World) -> dict[str, str]:
    """``attachment://name``, as embeds and components write it, to the URL."""
    return {
        f"attachment://{a['filename']}": attachment(a, message.channel_id, world)["url"] for a in message.attachments
    }


def _has_url(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("url"), str)


def _interaction_fields(invoked: Json, message: Message, world: World) -> Json:
    by = user(world.users[invoked["user_id"]])
    metadata: Json = {
        "id": invoked["id"],
        "type": invoked["type"],
        "user": by,
        "authorizing_integration_owners": {"0": message.guild_id or "0"},
    }
    if invoked["type"] == 3:  # noqa: PLR2004 - a component
        return {"interaction_metadata": {**metadata, "interacted_message_id": invoked["message_id"]}}
    if invoked["type"] != 2:  # noqa: PLR2004 - a modal
        used = {"type": 3, "interacted_message_id": invoked["message_id"]} if invoked.get("message_id") else {"type": 2}
        return {"interaction_metadata": {**metadata, "triggering_interaction_metadata": {**metadata, **used}}}
    legacy = {"id": invoked["id"], "type": 2, "name": invoked["name"], "user": by}
    return {"interaction_metadata": {**metadata, "name": invoked["name"]}, "interaction": legacy}


def _reference_fields(source: Message, world: World) -> Json:
    """The fields for the message that ``source`` refers to, as a reply, a thread's start, a pin or a forward."""
    here = {"channel_id": source.channel_id} | ({"guild_id": source.guild_id} if source.guild_id else {})
    reference = source.reference or {"type": 0, "message_id": source.reply_to, **here}
    payload: Json = {"message_reference": reference}
    if source.snapshots:
        payload["message_snapshots"] = source.snapshots
    if source.type in _TYPES_WITH_REFERENCED:
        target = world.message(reference["channel_id"], reference["message_id"])
        payload["referenced_message"] = message(target, world) if target else None
    return payload
