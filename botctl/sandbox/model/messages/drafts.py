"""Validating, creating and changing messages (Discord: Message resource)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.model.api_error import ApiError, FormErrors, too_large
from botctl.sandbox.model.messages import component_schema, embeds, mentions
from botctl.sandbox.model.messages.components import V2
from botctl.sandbox.model.messages.mentions import AllowedMentions
from botctl.sandbox.model.world import LOADING, Message, World

Json = dict[str, Any]
CONTENT_MAX = 2000
UPLOAD_MAX_BYTES = 10 * 1024 * 1024  # Discord: Reference > Uploading Files
FILES_MAX = 10
SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS = 1 << 2, 1 << 12  # Discord: Message resource > Message Flags
SETTABLE = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | V2  # in a new message


@dataclass
class Upload:
    """A file of a multipart request. ``slot`` is the n in the name ``files[n]`` of its part."""

    slot: str
    filename: str
    content_type: str
    data: bytes


@dataclass
class Draft:
    """A valid message body, ready to become a message or an edit."""

    fields: Json = field(default_factory=dict)  # of `Message`
    explicit_flags: int | None = None  # of the body; None: it has none
    kept_ids: set[str] | None = None  # old attachments that stay; None: all
    uploads: dict[str, Upload] = field(default_factory=dict)  # by attachment id
    attachments: list[Json] = field(default_factory=list)  # the new ones
    allowed_mentions: AllowedMentions = mentions.ALL_MENTIONS

    @property
    def flags(self) -> int:
        return self.explicit_flags or 0


def parse_body(
    body: Json,
    uploads: list[Upload],
    world: World,
    *,
    old: Message | None = None,
    default_mentions: AllowedMentions = mentions.ALL_MENTIONS,
    allow_empty: bool = False,
) -> Draft:
    """Validate ``body``. Raises 50035 (invalid), 50006 (empty), 50081 (sticker), 40005 (too large).

    ``old`` is the message to change; ``default_mentions`` apply to a body without ``allowed_mentions``.
    """
    if any(len(upload.data) > UPLOAD_MAX_BYTES for upload in uploads):
        raise too_large()
    errors = FormErrors()
    draft = Draft(
        explicit_flags=errors.field((), body, "flags", int),
        allowed_mentions=mentions.parse_allowed(body, errors, default_mentions),
    )
    v2 = bool((draft.flags | (old.flags if old else 0)) & V2)
    _parse_content(body, draft, errors)
    if "embeds" in body:
        draft.fields["embeds"] = embeds.parse_embeds(errors, body)
    _parse_components(body, draft, errors, v2=v2)
    _parse_attachments(body, uploads, draft, errors, world)
    errors.field((), body, "tts", bool)
    if body.get("poll") is not None:  # better an error than a message without its poll
        errors.add(("poll",), "SANDBOX_HAS_NO_POLLS", "The sandbox has no polls.")
    if v2:
        _check_v2_body(draft, old, errors)
    errors.check()
    if body.get("sticker_ids"):
        raise ApiError(400, 50081, "Invalid Sticker")  # the sandbox has none
    if not (old or allow_empty or any(draft.fields.values()) or draft.attachments):
        raise _empty_message()
    return draft


def create(world: World, draft: Draft, *, channel_id: str, guild_id: str, author_id: str, **fields: Any) -> Message:
    """Create a message in the world. ``fields``: more fields of `Message`, also its id."""
    message = Message(
        id=fields.pop("id", None) or world.new_id(),
        channel_id=channel_id,
        guild_id=guild_id,
        author_id=author_id,
        timestamp=world.timestamp(),
        attachments=draft.attachments,
        **draft.fields,
        **fields,
    )
    mentions.set_mentions(world, message, draft.allowed_mentions)
    world.add_message(message)
    return message


def edit(world: World, message: Message, draft: Draft) -> Message:
    """Apply ``draft`` to ``message``; a "thinking…" message becomes a normal one. Raises 50006 (empty)."""
    old_attachments = message.attachments
    if draft.kept_ids is not None:
        old_attachments = [stored for stored in old_attachments if stored["id"] in draft.kept_ids]
    attachments = old_attachments + draft.attachments
    contents = [draft.fields.get(name, getattr(message, name)) for name in ("content", "embeds", "components")]
    if not (any(contents) or attachments or message.snapshots or message.flags & LOADING):
        raise _empty_message()
    for name, value in draft.fields.items():
        setattr(message, name, value)
    message.attachments = attachments
    if draft.fields:
        mentions.set_mentions(world, message, draft.allowed_mentions)
    if message.flags & LOADING:
        message.flags = message.flags & ~LOADING | draft.flags & V2
    else:
        suppressed = message.flags if draft.explicit_flags is None else draft.explicit_flags
        message.flags = message.flags & ~SUPPRESS_EMBEDS | suppressed & SUPPRESS_EMBEDS | draft.flags & V2
        message.edited_at = world.timestamp()
    return message


def list_messages(
    world: World,
    channel_id: str,
    *,
    viewer: str,
    limit: int,
    before: str | None = None,
    after: str | None = None,
    around: str | None = None,
) -> list[Message]:
    """The last ``limit`` messages (``before`` an id), the first ``after`` an id, or those ``around``; newest first."""
    messages = [
        message for message in world.messages.get(channel_id, {}).values() if message.only_for in (None, viewer)
    ]
    if around:
        half = limit // 2
        older, newer = (
            [message for message in messages if int(message.id) < int(around)],
            [message for message in messages if int(message.id) >= int(around)],
        )
        return (older[max(len(older) - half, 0) :] + newer[: limit - half])[::-1]
    if before:
        messages = [message for message in messages if int(message.id) < int(before)]
    if after:
        messages = [message for message in messages if int(message.id) > int(after)][:limit]
    return messages[-limit:][::-1]


def _empty_message() -> ApiError:
    return ApiError(400, 50006, "Cannot send an empty message")


def _parse_content(body: Json, draft: Draft, errors: FormErrors) -> None:
    if "content" in body:
        draft.fields["content"] = errors.text((), body, "content", 0, CONTENT_MAX)


def _parse_components(body: Json, draft: Draft, errors: FormErrors, *, v2: bool) -> None:
    if "components" not in body:
        return
    draft.fields["components"] = component_schema.parse_components(body, errors, v2=v2)


def _check_v2_body(draft: Draft, old: Message | None, errors: FormErrors) -> None:
    """With V2 components a message has no content and no embeds (Discord: Components > Using components)."""
    for name in ("content", "embeds"):
        if draft.fields.get(name):
            words = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            errors.add((name,), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words)
    if old and not old.flags & V2 and any(draft.fields.get(name, getattr(old, name)) for name in ("content", "embeds")):
        words = "Content and embeds must be removed for MessageFlags.IS_COMPONENTS_V2"
        errors.add(("flags",), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words)


def _parse_attachments(body: Json, uploads: list[Upload], draft: Draft, errors: FormErrors, world: World) -> None:
    """The body names uploads by slot, and old attachments to keep by id (Discord: Reference > Uploading Files)."""
    if not uploads and "attachments" not in body:
        return
    described = {str(attachment.get("id")): attachment for attachment in errors.objects((), body, "attachments")}
    slots = {upload.slot for upload in uploads}
    if "attachments" in body:
        draft.kept_ids = set(described) - slots
    errors.at_most(("attachments",), [*slots, *(draft.kept_ids or ())], FILES_MAX)
    for upload in uploads:
        described_upload = described.get(upload.slot, {})
        stored: Json = {
            "id": world.new_id(),
            "filename": str(described_upload.get("filename") or upload.filename),
            "size": len(upload.data),
            "content_type": upload.content_type,
        }
        if described_upload.get("description"):
            stored["description"] = str(described_upload["description"])
        draft.uploads[stored["id"]] = upload
        draft.attachments.append(stored)
