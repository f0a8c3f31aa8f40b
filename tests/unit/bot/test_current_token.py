"""What replaces a token that Discord refuses."""

from __future__ import annotations

import pytest

from botctl.bot.current_token import CurrentToken
from botctl.core.contracts.discord_access import DiscordAccess, TokenFound
from botctl.core.errors import ConfigError, DeadToken
from botctl.sandbox.model.tokens import bot_token

OLD, NEW = bot_token("old", "900000000000000010"), bot_token("new", "900000000000000010")
REFUSAL = DeadToken("Discord refuses the token", hint="Set it.")


class Sources:
    """Sources of settings that have these values, one after the other."""

    def __init__(self, *found: str | Exception | None) -> None:
        self.found = list(found)

    def __call__(self) -> TokenFound:
        value = self.found.pop(0)
        if isinstance(value, Exception):
            raise value
        return TokenFound(value, "secrets/token")


def renewed(*found: str | Exception | None, token: str = OLD) -> CurrentToken:
    current = CurrentToken(DiscordAccess(token, reread=Sources(*found)))
    current.renew(REFUSAL)
    return current


def test_other_token_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert renewed(f"{NEW}\n").text == NEW
    assert "the bot logs in with the other one that is in secrets/token now" in caplog.text
    assert NEW not in caplog.text


@pytest.mark.parametrize(
    ("found", "sentence", "hint"),
    [
        (OLD, "Discord refuses the token, and secrets/token has no other one", "Set it."),
        (f" {OLD}", "Discord refuses the token, and secrets/token has no other one", "Set it."),
        (None, "Discord refuses the token, and the settings have none any more", "Set it."),
        (
            bot_token("new", "900000000000000011"),
            "Discord refuses the token, and secrets/token has that of another bot now",
            "Start this process again, if that is the bot to run.",
        ),
        (
            ConfigError("no UTF-8.", hint="Correct it."),
            "Discord refuses the token; the settings were read again for another one, and are wrong: no UTF-8.",
            "Correct it.",
        ),
    ],
)
def test_what_is_no_other_token_ends_the_process(found: str | Exception | None, sentence: str, hint: str) -> None:
    with pytest.raises(DeadToken) as caught:
        renewed(found)
    assert (str(caught.value), caught.value.hint) == (sentence, hint)


def test_token_of_the_sandbox_has_no_sources() -> None:
    with pytest.raises(DeadToken) as caught:
        CurrentToken(DiscordAccess(OLD, "http://127.0.0.1:1")).renew(REFUSAL)
    assert caught.value is REFUSAL


@pytest.mark.parametrize("token", ["my-token", "0", "ä.b.c", ""])
def test_token_of_an_unknown_form_may_be_of_the_same_bot(token: str) -> None:
    assert renewed(NEW, token=token).text == NEW


def test_sources_are_read_once_until_a_token_is_accepted() -> None:
    third = bot_token("third", "900000000000000010")
    current = renewed(NEW, third)
    with pytest.raises(DeadToken, match="refuses the token, and also the one that has replaced it"):
        current.renew(REFUSAL)
    current.accept()
    current.renew(REFUSAL)
    assert current.text == third
