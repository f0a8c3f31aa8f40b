"""What the bot says, by language."""

from __future__ import annotations

import string

import pytest

from botctl.bot.words import WORDS, pick, say


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
