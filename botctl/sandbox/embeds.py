"""Embeds: what a body may say of them (Discord: Message resource > Embed Object, Embed Limits)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botctl.sandbox.refusal import FormErrors, Path

Json = dict[str, Any]
MOST = 10
TOTAL = 6000  # characters in all embeds of a message together
_FIELDS = 25
_URL = 2048
_PICTURES = ("image", "thumbnail")
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
    shown = {key: value for key, value in said.items() if value is not None}
    parts = {name: errors.field(path, said, name, dict) or {} for name in ("author", "footer", *_PICTURES)}
    for within, name, most in _TEXTS:
        errors.text((*path, within) if within else path, parts[within] if within else said, name, 0, most)
    for within, name in _URLS:
        _check_url(errors, (*path, within) if within else path, parts[within] if within else said, name)
    errors.number(path, said, "color", 0, 0xFFFFFF)
    errors.time(path, said, "timestamp")
    fields = _fields(said, errors, path)
    if not any(shown.get(name) for name in ("title", "description", "fields", "author", "footer", *_PICTURES)):
        errors.add((*path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
    return {**shown, "type": "rich", "fields": fields} if fields else {**shown, "type": "rich"}


def _fields(said: Json, errors: FormErrors, path: Path) -> list[Json]:
    """The fields; of each it is said whether it is inline."""
    fields = errors.objects(path, said, "fields")
    errors.at_most((*path, "fields"), fields, _FIELDS)
    for index, one in enumerate(fields):
        errors.text((*path, "fields", index), one, "name", 1, 256)
        errors.text((*path, "fields", index), one, "value", 1, 1024)
        errors.field((*path, "fields", index), one, "inline", bool)
    return [{"name": one.get("name"), "value": one.get("value"), "inline": bool(one.get("inline"))} for one in fields]


def _check_url(errors: FormErrors, path: Path, said: Json, name: str) -> None:
    url = errors.text(path, said, name, 0, _URL)
    if not url:
        return
    schemes = ("http", "https") if name == "url" and path[-1] not in _PICTURES else ("http", "https", "attachment")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.scheme not in schemes:
        words = f"Scheme \"{parts.scheme}\" must be one of ('http', 'https')."
        errors.add((*path, name), "URL_TYPE_INVALID_SCHEME", words)
    elif not parts.netloc:
        errors.add((*path, name), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
