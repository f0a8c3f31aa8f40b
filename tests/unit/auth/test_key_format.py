"""The text of an API key."""

from __future__ import annotations

import pytest

from botctl.auth.key_format import PREFIX, digest, mint, parse_id
from botctl.core.redact import redact


def test_keys_are_unique() -> None:
    keys = [mint() for _ in range(200)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 200


def test_id_is_part_of_the_text() -> None:
    key = mint()
    assert key.text.startswith(f"{PREFIX}_{key.id}_")
    assert parse_id(key.text) == key.id


def test_digest_is_32_bytes_of_the_whole_text() -> None:
    key = mint()
    assert key.digest == digest(key.text)
    assert len(key.digest) == 32
    assert digest(key.text[:-1]) != key.digest


def test_checksum_finds_any_changed_character() -> None:
    """A character is missing or changed, at any place after the prefix."""
    text = mint().text
    for at in range(len(PREFIX), len(text)):
        for changed in (text[:at] + text[at + 1 :], text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]):
            with pytest.raises(ValueError, match="not the whole text"):
                parse_id(changed)


@pytest.mark.parametrize("text", ["", "botctl", "botctl__", "Bearer x", "ключ", "botctl_" + "2" * 12 + "_" + "0" * 49])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the whole text"):
        parse_id(text)


def test_key_in_log_is_redacted_except_its_id() -> None:
    key = mint()
    shown = redact(f"a client sent {key.text} and left")
    assert shown == f"a client sent botctl_{key.id}_[redacted] and left"
