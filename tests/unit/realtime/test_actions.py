"""What actions need and take, and that each one has exactly one audit entry, however it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from botctl.core.contracts.access import AccessRules
from botctl.core.contracts.api_keys import ApiKey
from botctl.core.contracts.permissions import PERMISSIONS
from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.core.errors import ConfigError, Held, IntegrityError, NotFound, StoreRejects, Unreachable, UsageError
from botctl.realtime import actions as module
from botctl.realtime.actions import ACTIONS, ActionRefused, Actions, Performed
from botctl.realtime.protocol import Do
from tests.support import ROOT
from tests.support.clock import ManualClock
from tests.support.people import FixedAccess
from tests.support.realtime import RecordingAuditor

PAGE = (ROOT / "docs" / "realtime.md").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ApiKey("k", "name", (), NOW, "ann")
MAY = replace(KEY, permissions=("*",))
REQUEST = Do(1, "jobs.pause", {"job": "cleanup"}, "noisy")


@dataclass
class Ends:
    """How the action ends: with an error, or with what it did."""

    with_: BaseException | Performed

    async def __call__(self, *_: object) -> Performed:
        if isinstance(self.with_, BaseException):
            raise self.with_
        return self.with_


def acting(monkeypatch: pytest.MonkeyPatch, end: BaseException | Performed) -> tuple[Actions, RecordingAuditor]:
    changed = replace(ACTIONS["jobs.pause"], perform=Ends(end))
    monkeypatch.setattr(module, "ACTIONS", {**ACTIONS, "jobs.pause": changed})
    auditor = RecordingAuditor()
    return Actions(Mock(), FixedAccess(AccessRules(), NOW), auditor, ManualClock()), auditor


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [
        (NotFound("no"), "not found", "error"),
        (UsageError("no"), "bad request", "error"),
        (Held("no"), "held", "error"),
        (IntegrityError("no"), "failed", "error"),
        (ConfigError("no"), "failed", "error"),
        (Unreachable("away"), "unavailable", "unknown"),
        (StoreRejects("away"), "unavailable", "unknown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_expected_errors_have_a_code_and_one_entry(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, outcome: str
) -> None:
    actions, auditor = acting(monkeypatch, error)
    with pytest.raises(ActionRefused) as refused:
        await actions.do(MAY, REQUEST)
    assert refused.value.code == code
    assert refused.value.temporary is (code in ("held", "unavailable"))
    (entry,) = auditor.entries
    assert (entry.action, entry.outcome, entry.reason) == ("job.pause", outcome, "noisy")
    assert entry.changes
    assert entry.changes[0].new == str(error)


@pytest.mark.parametrize(("error", "outcome"), [(KeyError("x"), "error"), (asyncio.CancelledError(), "unknown")])
async def test_what_no_one_expects_is_recorded_and_raised(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, outcome: str
) -> None:
    actions, auditor = acting(monkeypatch, error)
    with pytest.raises(type(error)):
        await actions.do(MAY, REQUEST)
    assert [entry.outcome for entry in auditor.entries] == [outcome]


@pytest.mark.parametrize("recorded", [True, False])
async def test_what_the_feature_has_recorded_is_not_recorded_again(
    monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    actions, auditor = acting(monkeypatch, Performed({"done": 1}, recorded=recorded))
    assert await actions.do(MAY, REQUEST) == {"done": 1}
    assert [(entry.outcome, entry.changes) for entry in auditor.entries] == ([] if recorded else [("success", None)])


async def test_nothing_is_done_without_the_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, action in ACTIONS.items():
        others = tuple(PERMISSIONS.keys() - {action.permission})
        actions, auditor = acting(monkeypatch, AssertionError("it was done"))
        args: Mapping[str, Any] = dict.fromkeys(action.required, "1")
        with pytest.raises(ActionRefused, match=f"needs the permission {action.permission}"):
            await actions.do(replace(KEY, permissions=others), Do(1, name, args, "why"))
        assert [(entry.action, entry.outcome) for entry in auditor.entries] == [(action.entry, "denied")]


def test_actions_of_a_guild_are_offered_to_whom_has_a_right_there(monkeypatch: pytest.MonkeyPatch) -> None:
    actions, _ = acting(monkeypatch, Performed({}))

    def offered(**changes: Any) -> list[object]:
        return [offer["action"] for offer in actions.offered(replace(MAY, **changes))]

    assert offered() == list(ACTIONS)
    assert offered(guild="1") == ["guild-settings.set"]
    assert offered(permissions=("jobs:write",)) == ["jobs.pause", "jobs.resume"]
    assert offered(permissions=("events:*",)) == []


def test_page_has_every_action_and_state_with_its_permission() -> None:
    states = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [^|]+ \| `([\w:-]+)` \|$", PAGE, re.MULTILINE))
    assert states == STATE_PERMISSIONS
    rows = re.findall(r"^\| (`[\w.-]+\.[\w-]+`[^|]*) \| ([^|]+) \| `([\w:-]+)`[^|]* \| [^|]+ \|$", PAGE, re.MULTILINE)
    listed = {name: (args, permission) for names, args, permission in rows for name in re.findall(r"`(.+?)`", names)}
    assert {name: permission for name, (_, permission) in listed.items()} == {
        name: action.permission for name, action in ACTIONS.items()
    }
    for name, action in ACTIONS.items():
        assert all(f"`{argument['name']}`" in listed[name][0] for argument in action.arguments)
