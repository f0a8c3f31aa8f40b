"""What lasts is said once, and again after ten minutes."""

import asyncio
import logging

import pytest

from botctl.core.repeats import AGAIN_S, Repeats

pytestmark = pytest.mark.looptime


async def test_sentence_is_said_once_and_again_later():
    repeats, said = Repeats(), []
    for second in range(1300):
        if repeats.level(logging.WARNING, "job a", "no") == logging.WARNING:
            said.append(second)
        await asyncio.sleep(1)
    assert said == [0, AGAIN_S, 2 * AGAIN_S]


async def test_other_sentence_subject_or_end_is_said():
    repeats = Repeats()
    spoken = [("a", "no"), ("b", "no"), ("a", "never"), ("a", "no")]
    assert [repeats.level(30, *each) for each in spoken] == [30] * 4
    assert repeats.level(30, "a", "no") == logging.DEBUG
    repeats.end("a")
    assert repeats.level(30, "a", "no") == 30
