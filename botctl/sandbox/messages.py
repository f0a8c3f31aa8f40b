"""Messages: what a body may say, and how one is made and changed (Discord: Message resource)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox import components
from botctl.sandbox.refusal import FormErrors, Path, Refusal
from botctl.sandbox.world import LOADING, Message, World

Json = dict[str, Any]
CONTENT_MAX = 2000
EMBEDS_MAX = 10
UPLOAD_MAX_BYTES = 10 * 1024 * 1024  # Discord: Reference > Uploading Files
FIELDS_MAX = 25
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
    made = Draft(flags=errors.field((), body, "flags", int) or 0)
    _content(body, made, errors)
    _embeds(body, made, errors)
    _components(body, made, errors)
    _attachments(body, uploads, made, errors, world)
    errors.check()
    if not edit and not any(made.fields.values()) and not made.attachments:
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


def _content(body: Json, made: Draft, errors: FormErrors) -> None:
    if "content" in body:
        made.fields["content"] = errors.text((), body, "content", 0, CONTENT_MAX)


def _embeds(body: Json, made: Draft, errors: FormErrors) -> None:
    if "embeds" in body:
        embeds = errors.objects((), body, "embeds")
        errors.at_most(("embeds",), embeds, EMBEDS_MAX)
        made.fields["embeds"] = [_embed(embed, errors, ("embeds", index)) for index, embed in enumerate(embeds)]


def _embed(said: Json, errors: FormErrors, path: Path) -> Json:
    """An embed as Discord keeps it: its type, and of each field whether it is inline."""
    shown = {**{key: value for key, value in said.items() if value is not None}, "type": "rich"}
    for name, most in (("title", 256), ("description", 4096)):
        errors.text(path, said, name, 0, most)
    for name in ("author", "footer", "image", "thumbnail"):
        errors.field(path, said, name, dict)
    fields = errors.objects(path, said, "fields")
    errors.at_most((*path, "fields"), fields, FIELDS_MAX)
    for index, field_ in enumerate(fields):
        errors.text((*path, "fields", index), field_, "name", 1, 256)
        errors.text((*path, "fields", index), field_, "value", 1, 1024)
    return {**shown, "fields": [{"inline": False, **one} for one in fields]} if fields else shown


def _components(body: Json, made: Draft, errors: FormErrors) -> None:
    if "components" not in body:
        return
    listed = errors.objects((), body, "components")
    if not made.flags & COMPONENTS_V2:
        errors.at_most(("components",), listed, ROWS_MAX)
    components.check(listed, errors, ("components",))
    if not errors.tree:
        made.fields["components"] = components.numbered(listed)


def _attachments(body: Json, uploads: list[Upload], made: Draft, errors: FormErrors, world: World) -> None:
    """Discord: Reference > Uploading Files: an attachment's id is a slot of ``files[n]``, or that of one to keep."""
    described = {str(one.get("id")): one for one in errors.objects((), body, "attachments")}
    slots = {upload.slot for upload in uploads}
    if "attachments" in body:
        made.kept = set(described) - slots
    for upload in uploads:
        said = described.get(upload.slot, {})
        stored: Json = {
            "id": world.new_id(),
            "filename": str(said.get("filename") or upload.filename),
            "size": len(upload.data),
            "content_type": upload.content_type,
        }
        if said.get("description"):
            stored["description"] = str(said["description"])
        made.uploads[stored["id"]] = upload
        made.attachments.append(stored)
