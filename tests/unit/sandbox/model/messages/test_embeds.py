"""Embeds: the errors, and the total number of characters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.messages import embeds

_TEXT = st.text("x", min_size=1, max_size=1500)
_FIELD = st.fixed_dictionaries(
    {"name": st.text("n", min_size=1, max_size=256), "value": st.text("v", min_size=1, max_size=1024)}
)
_EMBED = st.fixed_dictionaries(
    {"description": _TEXT},
    optional={
        "title": st.text("t", max_size=256),
        "author": st.fixed_dictionaries({"name": st.text("a", min_size=1, max_size=256)}),
        "footer": st.fixed_dictionaries({"text": st.text("f", min_size=1, max_size=2048)}),
        "fields": st.lists(_FIELD, max_size=4),
    },
)


def tree(*listed: Any) -> dict[str, Any]:
    errors = FormErrors()
    embeds.parse_embeds(errors, {"embeds": list(listed)})
    return errors.tree.get("embeds", {})


def length(embed: Any) -> int:
    """The characters of an embed, counted without the embed's schema; urls and colours do not count."""
    if isinstance(embed, dict):
        return sum(length(value) for value in embed.values())
    return sum(length(value) for value in embed) if isinstance(embed, list) else len(embed)


@given(st.lists(_EMBED, min_size=1, max_size=10))
def test_all_embeds_together_have_at_most_6000_characters(listed: list[dict[str, Any]]) -> None:
    errors = tree(*listed)
    if sum(length(embed) for embed in listed) <= 6000:
        assert errors == {}
    else:
        assert [error["code"] for error in errors["_errors"]] == ["MAX_EMBED_SIZE_EXCEEDED"]


@pytest.mark.parametrize(
    ("embed", "where", "code"),
    [
        ({}, "description", "BASE_TYPE_REQUIRED"),
        ({"title": "x" * 257}, "title", "BASE_TYPE_MAX_LENGTH"),
        ({"description": "x" * 4097}, "description", "BASE_TYPE_MAX_LENGTH"),
        ({"title": 1}, "title", "STRING_TYPE_CONVERT"),
        ({"title": "t", "color": 1 << 24}, "color", "NUMBER_TYPE_MAX"),
        ({"title": "t", "color": -1}, "color", "NUMBER_TYPE_MIN"),
        ({"title": "t", "url": "ftp://x/y"}, "url", "URL_TYPE_INVALID_SCHEME"),
        ({"title": "t", "url": "nonsense"}, "url", "URL_TYPE_INVALID_URL"),
        ({"title": "t", "url": "http://["}, "url", "URL_TYPE_INVALID_URL"),
        ({"title": "t", "timestamp": "soon"}, "timestamp", "DATE_TIME_TYPE_PARSE"),
        ({"title": "t", "footer": {"text": "x" * 2049}}, "footer.text", "BASE_TYPE_MAX_LENGTH"),
        ({"title": "t", "author": {"name": "x", "icon_url": "x"}}, "author.icon_url", "URL_TYPE_INVALID_URL"),
        ({"title": "t", "fields": [{"name": "n"}]}, "fields.0.value", "BASE_TYPE_REQUIRED"),
        ({"title": "t", "fields": [{"name": "n", "value": "v"}] * 26}, "fields", "BASE_TYPE_MAX_LENGTH"),
        ({"title": "t", "fields": [{"name": "x" * 257, "value": "v"}]}, "fields.0.name", "BASE_TYPE_BAD_LENGTH"),
        ({"image": {"url": "file:///etc/passwd"}}, "image.url", "URL_TYPE_INVALID_SCHEME"),
    ],
)
def test_errors_are_named_by_path(embed: dict[str, Any], where: str, code: str) -> None:
    node = tree({"title": "fine"}, embed)["1"]
    for part in where.split("."):
        node = node[part]
    assert [error["code"] for error in node["_errors"]] == [code]


@pytest.mark.parametrize(
    "embed",
    [
        {"image": {"url": "attachment://a.png"}},
        {"title": "t", "timestamp": "2026-01-01T00:00:00Z", "color": 0, "url": "https://example.org"},
        {"fields": [{"name": "n", "value": "v", "inline": True}]},
    ],
)
def test_valid_embed_passes(embed: dict[str, Any]) -> None:
    assert tree(embed) == {}


def test_eleven_embeds_are_refused() -> None:
    assert tree(*[{"title": "t"}] * 11)["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"
