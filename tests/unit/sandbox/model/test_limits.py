"""Limits as settings: parsing, errors and documentation."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.config.settings import Settings
from botctl.core.errors import ConfigError, ExitCode, UsageError
from botctl.sandbox.__main__ import main
from botctl.sandbox.model.limits import NAMES, Limits, Rate, parse_assignments
from botctl.sandbox.process.service import sandbox_spec
from tests.support import ROOT

PAGE = ROOT / "docs" / "sandbox-limits.md"


@given(st.integers(0, 10**9 - 1), st.floats(0.001, 10**8).map(lambda value: float(f"{value:g}")))
def test_rate_parses_its_own_text(count: int, per_s: float) -> None:
    rate = Rate(count, float(f"{per_s:.3f}"))
    if "e" not in str(rate):
        assert Rate.parse(str(rate)) == Rate(count, float(f"{rate.per_s:g}"))


@pytest.mark.parametrize(
    ("text", "per_s"), [("2/10m", 600), ("5/2s", 2), ("200/1d", 86_400), ("1/.25s", 0.25), ("9/h", 3600)]
)
def test_rate_accepts_units(text: str, per_s: float) -> None:
    assert Rate.parse(text).per_s == per_s


@pytest.mark.parametrize("text", ["5", "/2s", "5/2", "-1/2s", "5/0s", "x/2s", "5/2s per user"])
def test_invalid_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="5/2s"):
        Rate.parse(text)


def test_limits_can_be_replaced() -> None:
    changes: dict[str, Any] = {
        "invalid_requests": "20",
        "create_message": "1/2s",
        "heartbeat_s": 3,
        "enforced": "false",
    }
    limits = Limits().replace(changes)
    assert (limits.invalid_requests, limits.create_message) == (Rate(20, 600), Rate(1, 2))
    assert (limits.heartbeat_s, limits.enforced, limits.typing) == (3.0, False, Rate(5, 5))
    assert Limits().replace(limits.as_text()) == limits


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
def test_invalid_limit_is_explained(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Limits().replace(said)
    assert words in refused.value.hint


def test_limit_assignments_are_parsed() -> None:
    assert parse_assignments(["a=1", "b = 2/3s"]) == {"a": "1", "b": "2/3s"}
    with pytest.raises(UsageError, match="not a limit"):
        parse_assignments(["create_message"])


def test_wrong_limit_argument_prints_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--limit", "zeartbeat_s=3"]) == ExitCode.USAGE
    assert capsys.readouterr().err == "There is no limit “zeartbeat_s”. Did you mean heartbeat_s?\n"


def test_limits_are_botctl_settings() -> None:
    values = {"requests": 5, "enforced": False, "heartbeat_s": 1.5, "typing": "1/2s"}
    limits = Settings.model_validate({"sandbox": {"limits": values}}).sandbox.limits
    assert Limits().replace(limits).requests == Rate(5, 1)
    assert limits == {"requests": "5", "enforced": "false", "heartbeat_s": "1.5", "typing": "1/2s"}
    with pytest.raises(ConfigError, match=r"sandbox\.limits.*no limit “typo”"):
        sandbox_spec(0, {"typo": "1"})


def test_docs_explain_every_limit_with_its_value() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    documented = {name.strip(" `"): value.strip(" `") for name, value in rows}
    actual = {name: _written(getattr(Limits(), name)) for name in NAMES}
    assert documented == actual
    assert len(NAMES) == len(dataclasses.fields(Limits))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
