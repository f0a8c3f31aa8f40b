"""Messages: what a body may say, and how one is made and changed (Discord: Message resource)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.components import numbered
from botctl.sandbox.refusal import FormErrors, Refusal
from botctl.sandbox.world import LOADING, Message, World

Json = dict[str, Any]
CONTENT_MAX = 2000
EMBEDS_MAX = 10
UPLOAD_MAX_BYTES = 10 * 1024 * 1024  # Discord: Reference > Uploading Files
ROWS_MAX = 5
SUPPRESS_EMBEDS, COMPONENTS_V2 = 1 << 2, 1 << 15


@dataclass
class Upload:
    """A file that came with a body. ``slot`` is the n of its ``files[n]``."""

    slot: str
    filename: str
    content_type: str
    data: bytes


@dataclass
class Draft:
    """A body that was found right. ``fields`` holds what it sets of a Message; ``kept`` the attachments that stay
    (None: all); ``uploads`` are the new ones, stored under the id that is the key.
    """

    fields: Json = field(default_factory=dict)
    flags: int = 0
    kept: set[str] | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    attachments: list[Json] = field(default_factory=list)


def draft(body: Json, uploads: list[Upload], world: World, *, edit: bool = False) -> Draft:
    """What ``body`` asks for; raises Refusal (50035, 50006) when Discord would."""
    if sum(len(upload.data) for upload in uploads) > UPLOAD_MAX_BYTES:
        raise Refusal(413, 40005, "Request entity too large")
    errors = FormErrors()
    made = Draft(flags=_integer(body.get("flags")))
    _content(body, made, errors)
    _embeds(body, made, errors)
    _components(body, made, errors)
    _attachments(body, uploads, made, world)
    errors.check()
    filled = any(made.fields.values()) or made.attachments or body.get("poll") or body.get("sticker_ids")
    if not edit and not filled:
        raise Refusal(400, 50006, "Cannot send an empty message")
    return made


def create(world: World, made: Draft, *, channel_id: str, guild_id: str, author_id: str, **more: Any) -> Message:
    """A new message in the world. ``more``: further fields of `Message`."""
    message = Message(
        id=world.new_id(),
        channel_id=channel_id,
        guild_id=guild_id,
        author_id=author_id,
        timestamp=world.timestamp(),
        attachments=made.attachments,
        **made.fields,
        **more,
    )
    world.add_message(message)
    return message


def edit(world: World, message: Message, made: Draft) -> Message:
    """``message`` as ``made`` wants it; one that was "thinking…" is a plain message afterwards."""
    for name, value in made.fields.items():
        setattr(message, name, value)
    if made.kept is not None:
        message.attachments = [stored for stored in message.attachments if stored["id"] in made.kept]
    message.attachments = message.attachments + made.attachments
    if message.flags & LOADING:
        message.flags = message.flags & ~LOADING | made.flags & COMPONENTS_V2
    else:
        message.flags = message.flags & ~SUPPRESS_EMBEDS | made.flags & (SUPPRESS_EMBEDS | COMPONENTS_V2)
        message.edited_at = world.timestamp()
    return message


def listed(
    world: World, channel_id: str, *, viewer: str, limit: int, before: str | None = None, after: str | None = None
) -> list[Message]:
    """The newest ``limit`` messages that ``viewer`` sees, newest first; with ``after`` the oldest of those after it."""
    shown = [m for m in world.messages.get(channel_id, {}).values() if m.only_for in (None, viewer)]
    if before:
        shown = [m for m in shown if int(m.id) < int(before)]
    if after:
        shown = [m for m in shown if int(m.id) > int(after)][:limit]
    return shown[-limit:][::-1]


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _content(body: Json, made: Draft, errors: FormErrors) -> None:
    if "content" not in body:
        return
    content = body["content"] or ""
    if not isinstance(content, str):
        content = str(content)
    errors.length(("content",), content, 0, CONTENT_MAX)
    made.fields["content"] = content


def _embeds(body: Json, made: Draft, errors: FormErrors) -> None:
    if "embeds" not in body:
        return
    embeds = body["embeds"] or []
    if not isinstance(embeds, list) or not all(isinstance(embed, dict) for embed in embeds):
        errors.add(("embeds",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(embeds) > EMBEDS_MAX:
        errors.add(("embeds",), "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS_MAX} or fewer in length.")
    made.fields["embeds"] = [_embed(embed) for embed in embeds]


def _embed(said: Json) -> Json:
    """An embed as Discord keeps it: its type, and of each field whether it is inline."""
    shown = {**{key: value for key, value in said.items() if value is not None}, "type": "rich"}
    if isinstance(said.get("fields"), list):
        shown["fields"] = [{"inline": False, **one} for one in said["fields"]]
    return shown


def _components(body: Json, made: Draft, errors: FormErrors) -> None:
    if "components" not in body:
        return
    components = body["components"] or []
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        errors.add(("components",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(components) > ROWS_MAX and not made.flags & COMPONENTS_V2:
        errors.add(("components",), "BASE_TYPE_MAX_LENGTH", f"Must be {ROWS_MAX} or fewer in length.")
    made.fields["components"] = numbered(components)


def _attachments(body: Json, uploads: list[Upload], made: Draft, world: World) -> None:
    """Discord: Reference > Uploading Files: an attachment's id is a slot of ``files[n]``, or that of one to keep."""
    described = {str(one.get("id")): one for one in body.get("attachments") or [] if isinstance(one, dict)}
    slots = {upload.slot for upload in uploads}
    if "attachments" in body:
        made.kept = set(described) - slots
    for upload in uploads:
        said = described.get(upload.slot, {})
        stored: Json = {
            "id": world.new_id(),
            "filename": said.get("filename") or upload.filename,
            "size": len(upload.data),
            "content_type": upload.content_type,
        }
        if said.get("description"):
            stored["description"] = said["description"]
        made.uploads[stored["id"]] = upload
        made.attachments.append(stored)
