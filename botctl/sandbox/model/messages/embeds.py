"""Validation of embeds (Discord: Message resource > Embed Object, Embed Limits)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.model.api_error import FormErrors, Path

Json = dict[str, Any]
EMBEDS_MAX = 10
TOTAL_CHARACTERS_MAX = 6000  # of all embeds of a message together
_FIELDS_MAX = 25
_URL_MAX = 2048
_WEB_SCHEMES = ("http", "https")
_IMAGE_SCHEMES = (*_WEB_SCHEMES, "attachment")


@dataclass(frozen=True)
class _Part:
    """The fields of a part of an embed: texts with maximum length, URLs with schemes, the required text."""

    texts: dict[str, int] = field(default_factory=dict)
    urls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    required: str = ""


_IMAGE = _Part(urls={"url": _IMAGE_SCHEMES})
_EMBED = _Part({"title": 256, "description": 4096}, {"url": _WEB_SCHEMES})
_PARTS = {
    "author": _Part({"name": 256}, {"url": _WEB_SCHEMES, "icon_url": _IMAGE_SCHEMES}, required="name"),
    "footer": _Part({"text": 2048}, {"icon_url": _IMAGE_SCHEMES}, required="text"),
    "image": _IMAGE,
    "thumbnail": _IMAGE,
}


def parse_embeds(errors: FormErrors, body: Json) -> list[Json]:
    """The embeds of ``body``; each invalid value is added to ``errors``."""
    items = errors.objects((), body, "embeds")
    errors.at_most(("embeds",), items, EMBEDS_MAX)
    embeds = [_parse_embed(item, errors, ("embeds", index)) for index, item in enumerate(items)]
    if not errors.tree and sum(len(text) for embed in embeds for text in texts(embed)) > TOTAL_CHARACTERS_MAX:
        errors.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {TOTAL_CHARACTERS_MAX}")
    return embeds


def texts(embed: Json) -> Iterator[str]:
    """The texts of an embed that count for `TOTAL_CHARACTERS_MAX`."""
    for name in _EMBED.texts:
        yield embed.get(name, "")
    for name, part in _PARTS.items():
        if part.required and name in embed:
            yield embed[name][part.required]
    for item in embed.get("fields", ()):
        yield item["name"]
        yield item["value"]


def _parse_embed(item: Json, errors: FormErrors, path: Path) -> Json:
    embed = _parse_part(item, _EMBED, errors, path)
    if errors.number(path, item, "color", 0, 0xFFFFFF) is not None:
        embed["color"] = item["color"]
    for name, part in _PARTS.items():
        if name in item and (inner := errors.field(path, item, name, dict)):
            embed[name] = _parse_part(inner, part, errors, (*path, name))
    if fields := _parse_fields(item, errors, path):
        embed["fields"] = fields
    if not errors.tree and not embed.keys() - {"url", "color"}:
        errors.add((*path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
    embed["type"] = "rich"
    if time := errors.time(path, item, "timestamp"):
        embed["timestamp"] = time.isoformat()
    return embed


def _parse_part(item: Json, part: _Part, errors: FormErrors, path: Path) -> Json:
    values: Json = {}
    for name, most in part.texts.items():
        if name in item and (text := errors.text(path, item, name, 0, most)):
            values[name] = text
    for name, schemes in part.urls.items():
        if name in item and (url := errors.url(path, item, name, _URL_MAX, schemes)):
            values[name] = url
    if part.required and not item.get(part.required):
        errors.add((*path, part.required), "BASE_TYPE_REQUIRED", "This field is required")
    return values


def _parse_fields(embed: Json, errors: FormErrors, path: Path) -> list[Json]:
    fields = errors.objects(path, embed, "fields")
    errors.at_most((*path, "fields"), fields, _FIELDS_MAX)
    parsed = []
    for index, item in enumerate(fields):
        here = (*path, "fields", index)
        name, value = errors.text(here, item, "name", 1, 256), errors.text(here, item, "value", 1, 1024)
        parsed.append({"name": name, "value": value, "inline": errors.field(here, item, "inline", bool) or False})
    return parsed
