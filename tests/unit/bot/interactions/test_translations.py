"""The bot's own messages by language."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest

from botctl.bot.interactions.decisions import Throttled, classify
from botctl.bot.interactions.responses import outcome_text
from botctl.bot.interactions.translations import MESSAGES, pick, translate
from botctl.core.contracts.throttle import Verdict, parse


@pytest.mark.parametrize(("locale", "text"), [("de", "de"), ("en-US", "en"), ("en-GB", "gb"), ("fr", "en")])
def test_closest_language_is_picked(locale: str, text: str):
    assert pick({"en": "en", "en-GB": "gb", "de": "de"}, locale) == text


def test_first_language_is_picked_without_english():
    assert pick({"fr": "oui"}, "de") == "oui"


@pytest.mark.parametrize("key", MESSAGES)
def test_translations_have_the_same_placeholders(key: str):
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in MESSAGES[key].values()]
    assert all(names == fields[0] for names in fields)


def test_translate_fills_in_placeholders():
    assert translate("throttled", "de", seconds=4).endswith("in 4 s noch einmal.")


@pytest.mark.parametrize(
    ("wait_s", "expected"),
    [
        (3.2, "Not so fast: try again in 4 s."),
        (59.9, "Not so fast: try again in 60 s."),
        (60.0, "Not so fast: try again <t:1767225660:R>."),
        (86_399.5, "Not so fast: try again <t:1767312000:R>."),
    ],
)
def test_throttled_message_says_when_to_try_again(wait_s: float, expected: str):
    disposition = classify(Throttled(Verdict(False, wait_s, parse("1/1d per user")[0])))
    assert outcome_text(disposition, "en-US", None, datetime(2026, 1, 1, tzinfo=UTC)) == expected
