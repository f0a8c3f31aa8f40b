"""Validation of requests that create or change a channel; ``kind``: its type (Discord: Create Guild Channel)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import FormErrors, Path, unknown
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, CATEGORY, FORUM, STAGE, TEXT, VOICE
from botctl.sandbox.model.world import Guild, Overwrite, World

Json = dict[str, Any]
CHANNEL_TYPES = (TEXT, VOICE, CATEGORY, ANNOUNCEMENT, STAGE, FORUM)
LOWERCASE_NAMES = (TEXT, ANNOUNCEMENT, FORUM)  # Discord lowercases these and replaces spaces
SLOWMODE_MAX_S = 21_600
CATEGORY_CHANNELS_MAX = 50
ARCHIVE_MINUTES = (60, 1440, 4320, 10080)  # without messages, before a thread is archived
_TOPIC_MAX = {FORUM: 4096}
_OVERWRITES_MAX = 100
_FORUM_TAGS_MAX = 20
_EMOJI_NAME_MAX = 100

_DEFAULT_SETTINGS: dict[int, Json] = {
    VOICE: {"bitrate": 64_000, "user_limit": 0, "rtc_region": None},
    STAGE: {"bitrate": 64_000, "user_limit": 0, "rtc_region": None},
    FORUM: {
        "available_tags": [],
        "default_reaction_emoji": None,
        "default_sort_order": None,
        "default_forum_layout": 0,
    },
}


def default_settings(kind: int) -> Json:
    return dict(_DEFAULT_SETTINGS.get(kind, {}))


def parse_fields(world: World, guild: Guild, body: Json, kind: int) -> tuple[Json, Json]:
    """The values of ``body`` for the attributes of `Channel`, and for `Channel.settings`. Raises 50035 (invalid)."""
    errors = FormErrors()
    values: Json = {}
    if "name" in body:
        name = errors.text((), body, "name", 1, 100)
        values["name"] = name.lower().replace(" ", "-") if kind in LOWERCASE_NAMES else name
    if "topic" in body:
        values["topic"] = errors.text((), body, "topic", 0, _TOPIC_MAX.get(kind, 1024)) or None
    if "nsfw" in body:
        values["nsfw"] = errors.field((), body, "nsfw", bool) or False
    if (slowmode := errors.number((), body, "rate_limit_per_user", 0, SLOWMODE_MAX_S)) is not None:
        values["slowmode_s"] = slowmode
    if (position := errors.number((), body, "position", 0, 2**31 - 1)) is not None:
        values["position"] = position
    if "parent_id" in body:
        values["parent_id"] = _parse_category(guild, body, kind, errors)
    if "permission_overwrites" in body:
        values["overwrites"] = _parse_overwrites(guild, body, errors)
    settings = _parse_settings(world, body, errors)
    errors.check()
    return values, settings


def parse_overwrite(errors: FormErrors, path: Path, item: Json) -> Overwrite | None:
    target, kind = errors.snowflake(path, item, "id"), errors.choice(path, item, "type", (0, 1))
    allow, deny = (int(errors.snowflake(path, item, name) or 0) & permission_bits.ALL for name in ("allow", "deny"))
    if target is None:
        errors.add((*path, "id"), "BASE_TYPE_REQUIRED", "This field is required")
    return Overwrite(target, kind or 0, allow, deny) if target else None


def changed_permissions(before: dict[str, Overwrite], after: dict[str, Overwrite]) -> int:
    """The permission bits that are allowed or denied in only one of ``before`` and ``after``."""
    changed = 0
    for key in {*before, *after}:
        old, new = before.get(key, Overwrite(key, 0)), after.get(key, Overwrite(key, 0))
        changed |= (old.allow ^ new.allow) | (old.deny ^ new.deny)
    return changed


def _parse_category(guild: Guild, body: Json, kind: int, errors: FormErrors) -> str | None:
    parent_id = errors.snowflake((), body, "parent_id")
    if parent_id is None:
        return None
    parent = guild.channels.get(parent_id)
    if parent is None or parent.type != CATEGORY or kind == CATEGORY:
        errors.add(("parent_id",), "CHANNEL_PARENT_INVALID_TYPE", "Not a category")
    elif sum(channel.parent_id == parent_id for channel in guild.channels.values()) >= CATEGORY_CHANNELS_MAX:
        message = f"Maximum number of channels in category reached ({CATEGORY_CHANNELS_MAX})"
        errors.add(("parent_id",), "CHANNEL_PARENT_MAX_CHANNELS", message)
    return parent_id


def _parse_overwrites(guild: Guild, body: Json, errors: FormErrors) -> dict[str, Overwrite]:
    items = errors.objects((), body, "permission_overwrites")
    errors.at_most(("permission_overwrites",), items, _OVERWRITES_MAX)
    parsed = [parse_overwrite(errors, ("permission_overwrites", index), item) for index, item in enumerate(items)]
    overwrites = {overwrite.id: overwrite for overwrite in parsed if overwrite is not None}
    if any(overwrite.type == 0 and overwrite.id not in guild.roles for overwrite in overwrites.values()):
        errors.check()
        raise unknown("Overwrite")
    return overwrites


def _parse_settings(world: World, body: Json, errors: FormErrors) -> Json:
    settings: Json = {
        "bitrate": errors.number((), body, "bitrate", 8000, 96_000),
        "user_limit": errors.number((), body, "user_limit", 0, 99),
        "video_quality_mode": errors.choice((), body, "video_quality_mode", (1, 2)),
        "default_auto_archive_duration": errors.choice((), body, "default_auto_archive_duration", ARCHIVE_MINUTES),
        "default_thread_rate_limit_per_user": errors.number(
            (), body, "default_thread_rate_limit_per_user", 0, SLOWMODE_MAX_S
        ),
        "default_sort_order": errors.choice((), body, "default_sort_order", (0, 1)),
        "default_forum_layout": errors.choice((), body, "default_forum_layout", (0, 1, 2)),
        "default_reaction_emoji": _parse_default_reaction(body, errors),
        "available_tags": _parse_forum_tags(world, body, errors) if "available_tags" in body else None,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _parse_default_reaction(body: Json, errors: FormErrors) -> Json | None:
    emoji = errors.field((), body, "default_reaction_emoji", dict)
    return _parse_emoji(emoji, errors, ("default_reaction_emoji",)) if emoji else None


def _parse_emoji(item: Json, errors: FormErrors, path: Path) -> Json:
    name = errors.text(path, item, "emoji_name", 0, _EMOJI_NAME_MAX) or None
    return {"emoji_id": errors.snowflake(path, item, "emoji_id"), "emoji_name": name}


def _parse_forum_tags(world: World, body: Json, errors: FormErrors) -> list[Json]:
    tags = errors.objects((), body, "available_tags")
    errors.at_most(("available_tags",), tags, _FORUM_TAGS_MAX)
    return [
        {
            "id": errors.snowflake(("available_tags", index), tag, "id") or world.new_id(),
            "name": errors.text(("available_tags", index), tag, "name", 1, 20),
            "moderated": errors.field(("available_tags", index), tag, "moderated", bool) or False,
            **_parse_emoji(tag, errors, ("available_tags", index)),
        }
        for index, tag in enumerate(tags)
    ]
