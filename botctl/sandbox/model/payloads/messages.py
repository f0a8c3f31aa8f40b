"""Messages, and what hangs on them: attachments, reactions, what they answer (Discord: Message resource)."""

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
_SHOWING_REFERENCED = frozenset({19, 21})  # Discord: Message Types: a reply, and what a thread begins with


def message(one: Message, world: World, *, viewer: str = "") -> Json:
    """A message as REST and the answers to an interaction show it; ``viewer``: the bot whose reactions are marked."""
    shown: Json = {
        "id": one.id,
        "type": one.type,
        "channel_id": one.channel_id,
        "author": _webhook_author(one, world) if one.webhook_id else user(world.users[one.author_id]),
        "content": one.content,
        "timestamp": one.timestamp,
        "edited_timestamp": one.edited_at,
        "tts": one.tts,
        "mention_everyone": one.mention_everyone,
        "mentions": [user(world.users[found]) for found in one.mentions if found in world.users],
        "mention_roles": one.mention_roles,
        "attachments": [attachment(stored, one.channel_id, world) for stored in one.attachments],
        "embeds": _embeds(one, world),
        "components": _components(one, world),
        "pinned": one.pinned_at is not None,
        "flags": one.flags,
    }
    if one.application_id:
        shown |= {"application_id": one.application_id, "webhook_id": one.application_id}
    if one.reactions:
        shown["reactions"] = _reactions(one, viewer)
    if one.webhook_id:
        shown["webhook_id"] = one.webhook_id
    if one.nonce is not None:
        shown["nonce"] = one.nonce
    if one.invoked:
        shown |= _invoked(one.invoked, one, world)
    if one.reply_to or one.reference:
        shown |= _referring(one, world)
    if one.flags & HAS_THREAD and (begun := world.channels.get(one.id)) and begun.thread:
        shown["thread"] = thread(begun, begun.thread, viewer=viewer)
    return shown


def message_event(one: Message, world: World) -> Json:
    """A message as the gateway shows it: with its guild and its author's membership."""
    shown = message(one, world)
    if not one.guild_id:
        return shown
    shown["guild_id"] = one.guild_id
    members = world.guilds[one.guild_id].members
    for mentioned in shown["mentions"]:
        if mentioned["id"] in members:
            mentioned["member"] = partial_member(members[mentioned["id"]])
    found = members.get(one.author_id)
    return {**shown, "member": partial_member(found)} if found else shown


def _webhook_author(one: Message, world: World) -> Json:
    """What a webhook says comes from a user that is none: its id is the webhook's."""
    hook = world.webhooks.get(one.webhook_id or "")
    return {
        "id": one.webhook_id,
        "username": one.name or (hook.name if hook else "Deleted Webhook"),
        "discriminator": "0000",
        "global_name": None,
        "avatar": one.avatar or (hook.avatar if hook else None),
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
        "bot": True,
    }


def attachment(stored: Json, channel_id: str, world: World) -> Json:
    url = f"{world.url}/cdn/attachments/{channel_id}/{stored['id']}/{quote(stored['filename'], safe='')}"
    return {**stored, "url": url, "proxy_url": url}


def _reactions(one: Message, viewer: str) -> list[Json]:
    """The reactions of a message as the bot ``viewer`` sees them."""
    return [
        {
            "emoji": reaction_emoji(key),
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me_burst": False,
            "me": viewer in users,
        }
        for key, users in one.reactions.items()
    ]


def reaction_emoji(key: str) -> Json:
    """``👍`` or ``name:id``, as `Message.reactions` has it."""
    name, _, emoji_id = key.partition(":")
    return {"id": emoji_id or None, "name": name}


def is_ephemeral(one: Message) -> bool:
    return bool(one.flags & EPHEMERAL)


def _embeds(one: Message, world: World) -> list[Json]:
    """The embeds, with ``attachment://name`` turned into where the attachment is served."""
    if not one.attachments or not one.embeds:
        return one.embeds
    urls = _urls(one, world)
    return [
        {
            key: {**value, "url": urls.get(value["url"], value["url"])} if _is_picture(value) else value
            for key, value in embed.items()
        }
        for embed in one.embeds
    ]


def _components(one: Message, world: World) -> list[Json]:
    """The components, with their pictures and files as Discord serves them."""
    if not one.flags & components.V2:
        return one.components
    urls, shown = _urls(one, world), copy.deepcopy(one.components)
    sent = {f"attachment://{a['filename']}": {"name": a["filename"], "size": a["size"]} for a in one.attachments}
    for file in components.walk(shown):
        if file["type"] == components.FILE:
            file.update(sent.get(file["file"]["url"], {}))
    for number, found in enumerate(component_schema.media_items(shown), start=1):
        url = urls.get(found["url"], found["url"])
        found |= {"id": str(number), "url": url, "proxy_url": url}
    return shown


def _urls(one: Message, world: World) -> dict[str, str]:
    """``attachment://name`` to where each attachment is served."""
    return {f"attachment://{a['filename']}": attachment(a, one.channel_id, world)["url"] for a in one.attachments}


def _is_picture(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("url"), str)


def _invoked(invoked: Json, one: Message, world: World) -> Json:
    by = user(world.users[invoked["user_id"]])
    metadata: Json = {
        "id": invoked["id"],
        "type": invoked["type"],
        "user": by,
        "authorizing_integration_owners": {"0": one.guild_id or "0"},
    }
    if invoked["type"] == 3:  # noqa: PLR2004 - a component: the message it stood on
        return {"interaction_metadata": {**metadata, "interacted_message_id": invoked["message_id"]}}
    if invoked["type"] != 2:  # noqa: PLR2004 - a modal: what it was opened by
        used = {"type": 3, "interacted_message_id": invoked["message_id"]} if invoked.get("message_id") else {"type": 2}
        return {"interaction_metadata": {**metadata, "triggering_interaction_metadata": {**metadata, **used}}}
    legacy = {"id": invoked["id"], "type": 2, "name": invoked["name"], "user": by}
    return {"interaction_metadata": {**metadata, "name": invoked["name"]}, "interaction": legacy}


def _referring(one: Message, world: World) -> Json:
    """What a message points to: one that it answers, that began its thread, that was pinned, that it forwards."""
    here = {"channel_id": one.channel_id} | ({"guild_id": one.guild_id} if one.guild_id else {})
    reference = one.reference or {"type": 0, "message_id": one.reply_to, **here}
    shown: Json = {"message_reference": reference}
    if one.snapshots:
        shown["message_snapshots"] = one.snapshots
    if one.type in _SHOWING_REFERENCED:
        target = world.message(reference["channel_id"], reference["message_id"])
        shown["referenced_message"] = message(target, world) if target else None
    return shown
