"""Limits as settings: one name each, written as text, and all of them explained."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.config.settings import Settings
from botctl.core.errors import ConfigError, ExitCode, UsageError
from botctl.sandbox.__main__ import main
from botctl.sandbox.model.limits import NAMES, Limits, Rate, pairs
from botctl.sandbox.process.service import sandbox_spec
from tests.support import ROOT

PAGE = ROOT / "docs" / "sandbox-limits.md"


@given(st.integers(0, 10**9 - 1), st.floats(0.001, 10**8).map(lambda one: float(f"{one:g}")))
def test_a_rate_is_read_as_it_is_written(count: int, per_s: float) -> None:
    rate = Rate(count, float(f"{per_s:.3f}"))
    if "e" not in str(rate):
        assert Rate.parse(str(rate)) == Rate(count, float(f"{rate.per_s:g}"))


@pytest.mark.parametrize(
    ("text", "per_s"), [("2/10m", 600), ("5/2s", 2), ("200/1d", 86_400), ("1/.25s", 0.25), ("9/h", 3600)]
)
def test_a_rate_has_units(text: str, per_s: float) -> None:
    assert Rate.parse(text).per_s == per_s


@pytest.mark.parametrize("text", ["5", "/2s", "5/2", "-1/2s", "5/0s", "x/2s", "5/2s per user"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="5/2s"):
        Rate.parse(text)


def test_some_may_be_other_than_discords() -> None:
    said: dict[str, Any] = {"invalid_requests": "20", "create_message": "1/2s", "heartbeat_s": 3, "enforced": "false"}
    limits = Limits().but(said)
    assert (limits.invalid_requests, limits.create_message) == (Rate(20, 600), Rate(1, 2))
    assert (limits.heartbeat_s, limits.enforced, limits.typing) == (3.0, False, Rate(5, 5))
    assert Limits().but(limits.shown()) == limits


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"create_mesage": "1/1s"}, "create_message"),
        ({"zzz": 1}, "requests, "),
        ({"requests": "often"}, "rate like 50/1s"),
        ({"requests": True}, "rate like"),
        ({"buffer": 1.5}, "whole number"),
        ({"buffer": "nan"}, "whole number"),
        ({"heartbeat_s": -1}, "not below 0"),
        ({"heartbeat_s": "inf"}, "not below 0"),
        ({"enforced": "maybe"}, "true or false"),
        ({"requests": None}, "rate like"),
    ],
)
def test_a_wrong_one_is_explained(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Limits().but(said)
    assert words in refused.value.hint


def test_words_of_a_command_line() -> None:
    assert pairs(["a=1", "b = 2/3s"]) == {"a": "1", "b": "2/3s"}
    with pytest.raises(UsageError, match="no limit"):
        pairs(["create_message"])


def test_a_wrong_word_of_the_command_line_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--limit", "zeartbeat_s=3"]) == ExitCode.USAGE
    assert capsys.readouterr().err == "There is no limit “zeartbeat_s”. Did you mean heartbeat_s?\n"


def test_they_are_settings_of_botctl_too() -> None:
    said = {"requests": 5, "enforced": False, "heartbeat_s": 1.5, "typing": "1/2s"}
    limits = Settings.model_validate({"sandbox": {"limits": said}}).sandbox.limits
    assert Limits().but(limits).requests == Rate(5, 1)
    assert limits == {"requests": "5", "enforced": "false", "heartbeat_s": "1.5", "typing": "1/2s"}
    with pytest.raises(ConfigError, match=r"sandbox\.limits.*no limit “typo”"):
        sandbox_spec(0, {"typo": "1"})


def test_the_page_explains_every_limit_with_its_value() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): value.strip(" `") for name, value in rows}
    shown = {name: _written(getattr(Limits(), name)) for name in NAMES}
    assert told == shown
    assert len(NAMES) == len(dataclasses.fields(Limits))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
