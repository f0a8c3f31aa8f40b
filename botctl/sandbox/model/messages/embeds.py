"""Embeds: what a body may say of them (Discord: Message resource > Embed Object, Embed Limits)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.model.api_error import FormErrors, Path

Json = dict[str, Any]
EMBEDS_MAX = 10
TOTAL_CHARACTERS_MAX = 6000  # characters in all embeds of a message together
_FIELDS = 25
_URL = 2048
_WEB = ("http", "https")
_WITH_ATTACHMENTS = (*_WEB, "attachment")


@dataclass(frozen=True)
class _Part:
    """What Discord knows of an embed, or of an object in it: texts with their most characters, URLs with their schemes.

    The text that it cannot be without is ``needs``.
    """

    texts: dict[str, int] = field(default_factory=dict)
    urls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    needs: str = ""


_PICTURE = _Part(urls={"url": _WITH_ATTACHMENTS})
_EMBED = _Part({"title": 256, "description": 4096}, {"url": _WEB})
_PARTS = {
    "author": _Part({"name": 256}, {"url": _WEB, "icon_url": _WITH_ATTACHMENTS}, needs="name"),
    "footer": _Part({"text": 2048}, {"icon_url": _WITH_ATTACHMENTS}, needs="text"),
    "image": _PICTURE,
    "thumbnail": _PICTURE,
}


def parse_embeds(errors: FormErrors, body: Json) -> list[Json]:
    """The embeds of ``body`` as Discord keeps them; what is wrong with them is added to ``errors``."""
    listed = errors.objects((), body, "embeds")
    errors.at_most(("embeds",), listed, EMBEDS_MAX)
    found = [_parse_embed(one, errors, ("embeds", index)) for index, one in enumerate(listed)]
    if not errors.tree and sum(len(text) for one in found for text in texts(one)) > TOTAL_CHARACTERS_MAX:
        errors.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {TOTAL_CHARACTERS_MAX}")
    return found


def texts(embed: Json) -> Iterator[str]:
    """The texts of an embed that count for `TOTAL_CHARACTERS_MAX`."""
    for name in _EMBED.texts:
        yield embed.get(name, "")
    for name, part in _PARTS.items():
        if part.needs and name in embed:
            yield embed[name][part.needs]
    for one in embed.get("fields", ()):
        yield one["name"]
        yield one["value"]


def _parse_embed(said: Json, errors: FormErrors, path: Path) -> Json:
    shown = _parse_part(said, _EMBED, errors, path)
    if errors.number(path, said, "color", 0, 0xFFFFFF) is not None:
        shown["color"] = said["color"]
    for name, part in _PARTS.items():
        if name in said and (inner := errors.field(path, said, name, dict)):
            shown[name] = _parse_part(inner, part, errors, (*path, name))
    if fields := _parse_fields(said, errors, path):
        shown["fields"] = fields
    if not errors.tree and not shown.keys() - {"url", "color"}:
        errors.add((*path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
    shown["type"] = "rich"
    if time := errors.time(path, said, "timestamp"):
        shown["timestamp"] = time.isoformat()
    return shown


def _parse_part(said: Json, part: _Part, errors: FormErrors, path: Path) -> Json:
    """What Discord keeps of ``said``."""
    kept: Json = {}
    for name, most in part.texts.items():
        if name in said and (text := errors.text(path, said, name, 0, most)):
            kept[name] = text
    for name, schemes in part.urls.items():
        if name in said and (url := errors.url(path, said, name, _URL, schemes)):
            kept[name] = url
    if part.needs and not said.get(part.needs):
        errors.add((*path, part.needs), "BASE_TYPE_REQUIRED", "This field is required")
    return kept


def _parse_fields(said: Json, errors: FormErrors, path: Path) -> list[Json]:
    """The fields; of each it is said whether it is inline."""
    fields = errors.objects(path, said, "fields")
    errors.at_most((*path, "fields"), fields, _FIELDS)
    kept = []
    for index, one in enumerate(fields):
        here = (*path, "fields", index)
        name, value = errors.text(here, one, "name", 1, 256), errors.text(here, one, "value", 1, 1024)
        kept.append({"name": name, "value": value, "inline": errors.field(here, one, "inline", bool) or False})
    return kept
