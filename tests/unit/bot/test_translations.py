"""What the bot says, by language."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest

from botctl.bot.decisions import Throttled, classify
from botctl.bot.responses import sentence
from botctl.bot.translations import WORDS, pick, say
from botctl.core.contracts.throttle import Verdict, parse


@pytest.mark.parametrize(("locale", "word"), [("de", "de"), ("en-US", "en"), ("en-GB", "gb"), ("fr", "en")])
def test_the_nearest_language_is_picked(locale: str, word: str):
    """Exact, else by language, else English."""
    assert pick({"en": "en", "en-GB": "gb", "de": "de"}, locale) == word


def test_without_english_there_is_still_a_word():
    assert pick({"fr": "oui"}, "de") == "oui"


@pytest.mark.parametrize("key", WORDS)
def test_translations_fill_in_the_same_values(key: str):
    """A placeholder that one language has and another has not would be lost, or fail."""
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in WORDS[key].values()]
    assert all(names == fields[0] for names in fields)


def test_say_fills_in():
    assert say("throttled", "de", seconds=4).endswith("in 4 s noch einmal.")


@pytest.mark.parametrize(
    ("wait_s", "expected"),
    [
        (3.2, "Not so fast: try again in 4 s."),
        (59.9, "Not so fast: try again in 60 s."),
        (60.0, "Not so fast: try again <t:1767225660:R>."),
        (86_399.5, "Not so fast: try again <t:1767312000:R>."),
    ],
)
def test_who_is_too_fast_is_told_when_to_try_again(wait_s: float, expected: str):
    """In seconds, or as a moment that each client shows in its own words; never a moment too early."""
    disposition = classify(Throttled(Verdict(False, wait_s, parse("1/1d per user")[0])))
    assert sentence(disposition, "en-US", None, datetime(2026, 1, 1, tzinfo=UTC)) == expected
