"""The text of an API key."""

from __future__ import annotations

import pytest

from botctl.auth.key_format import PREFIX, digest, id_of, mint
from botctl.core.redact import redact


def test_every_key_is_another_one() -> None:
    keys = [mint() for _ in range(200)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 200


def test_the_id_stands_in_the_text() -> None:
    key = mint()
    assert key.text.startswith(f"{PREFIX}_{key.id}_")
    assert id_of(key.text) == key.id


def test_what_is_kept_says_nothing_about_the_text() -> None:
    key = mint()
    assert key.digest == digest(key.text)
    assert len(key.digest) == 32
    assert digest(key.text[:-1]) != key.digest


def test_any_change_is_noticed_without_asking_anybody() -> None:
    """One character missing, changed, or twice, at any place after the prefix."""
    text = mint().text
    for at in range(len(PREFIX), len(text)):
        for changed in (text[:at] + text[at + 1 :], text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]):
            with pytest.raises(ValueError, match="not the whole text"):
                id_of(changed)


@pytest.mark.parametrize("text", ["", "botctl", "botctl__", "Bearer x", "ключ", "botctl_" + "2" * 12 + "_" + "0" * 49])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not the whole text"):
        id_of(text)


def test_a_key_in_a_log_is_redacted_but_for_its_id() -> None:
    key = mint()
    shown = redact(f"a client sent {key.text} and left")
    assert shown == f"a client sent botctl_{key.id}_[redacted] and left"
