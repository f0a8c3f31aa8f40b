"""Embeds: what a body may say of them (Discord: Message resource > Embed Object, Embed Limits)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botctl.sandbox.refusal import FormErrors, Path

Json = dict[str, Any]
MOST = 10
TOTAL = 6000  # characters in all embeds of a message together
_FIELDS = 25
_URL = 2048
_PICTURES = ("image", "thumbnail")
_WEB = ("http", "https")
_WITH_ATTACHMENTS = (*_WEB, "attachment")
_TEXTS: tuple[tuple[str | None, str, int], ...] = (  # within what, name, most characters
    (None, "title", 256),
    (None, "description", 4096),
    ("author", "name", 256),
    ("footer", "text", 2048),
)
_URLS: tuple[tuple[str | None, str], ...] = (
    (None, "url"),
    ("author", "url"),
    ("author", "icon_url"),
    ("footer", "icon_url"),
    ("image", "url"),
    ("thumbnail", "url"),
)


def checked(errors: FormErrors, body: Json) -> list[Json]:
    """The embeds of ``body`` as Discord keeps them; what is wrong with them is added to ``errors``."""
    listed = errors.objects((), body, "embeds")
    errors.at_most(("embeds",), listed, MOST)
    found = [_checked(one, errors, ("embeds", index)) for index, one in enumerate(listed)]
    if not errors.tree and sum(len(text) for one in found for text in texts(one)) > TOTAL:
        errors.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {TOTAL}")
    return found


def texts(embed: Json) -> Iterator[str]:
    """The texts of an embed that count for `TOTAL`."""
    for within, name, _ in _TEXTS:
        yield (embed.get(within) or {}).get(name) or "" if within else embed.get(name) or ""
    for one in embed.get("fields") or ():
        yield one["name"]
        yield one["value"]


def _checked(said: Json, errors: FormErrors, path: Path) -> Json:
    parts = {name: errors.field(path, said, name, dict) or {} for name in ("author", "footer", *_PICTURES)}
    for within, name, most in _TEXTS:
        place = parts[within] if within else said
        if place.get(name) is not None:
            errors.text((*path, within) if within else path, place, name, 0, most)
    for within, name in (("author", "name"), ("footer", "text")):
        if parts[within] and not parts[within].get(name):
            errors.add((*path, within, name), "BASE_TYPE_REQUIRED", "This field is required")
    for within, name in _URLS:
        place = parts[within] if within else said
        if place.get(name) is not None:
            schemes = _WITH_ATTACHMENTS if within in _PICTURES or name == "icon_url" else _WEB
            errors.url((*path, within) if within else path, place, name, _URL, schemes)
    errors.number(path, said, "color", 0, 0xFFFFFF)
    time = errors.time(path, said, "timestamp")
    fields = _fields(said, errors, path)
    shown = {name: said[name] for name in ("title", "description", "url", "color") if said.get(name) not in (None, "")}
    shown |= {name: kept for name, part in parts.items() if (kept := _kept(name, part))}
    shown |= {"fields": fields} if fields else {}
    if not shown.keys() - {"url", "color"}:
        errors.add((*path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
    return {**shown, "type": "rich"} | ({"timestamp": time.isoformat()} if time else {})


def _kept(name: str, part: Json) -> Json:
    """What Discord knows of a part of an embed."""
    known = [key for within, key, _ in _TEXTS if within == name] + [key for within, key in _URLS if within == name]
    return {key: part[key] for key in known if part.get(key)}


def _fields(said: Json, errors: FormErrors, path: Path) -> list[Json]:
    """The fields; of each it is said whether it is inline."""
    fields = errors.objects(path, said, "fields")
    errors.at_most((*path, "fields"), fields, _FIELDS)
    for index, one in enumerate(fields):
        errors.text((*path, "fields", index), one, "name", 1, 256)
        errors.text((*path, "fields", index), one, "value", 1, 1024)
        errors.field((*path, "fields", index), one, "inline", bool)
    return [{"name": one.get("name"), "value": one.get("value"), "inline": bool(one.get("inline"))} for one in fields]
