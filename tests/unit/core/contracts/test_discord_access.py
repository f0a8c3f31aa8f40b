"""What a token tells."""

from __future__ import annotations

import pytest

from botctl.core.contracts.discord_access import bot_id_of
from botctl.sandbox.model.tokens import bot_token

BOT = "900000000000000010"


def test_token_tells_the_id_of_its_bot() -> None:
    assert bot_id_of(bot_token("one", BOT)) == bot_id_of(f" {bot_token('another', BOT)}\n") == BOT


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "OTAwMDAwMDAwMDAwMDAwMDEw",  # the id alone
        "OTAwMDAwMDAwMDAwMDAwMDEw.b",
        "OTAw.b.c",  # 900 is no id
        "w7w.b.c",  # ü
        "ü.b.c",
        "!!!!.b.c",
    ],
)
def test_other_texts_tell_none(token: str) -> None:
    assert bot_id_of(token) == ""
