"""Every route of the sandbox answers as Discord's official description says, and the judge of that can say no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from botctl.sandbox.rest import routing
from tests.support import openapi
from tests.support.calls import CALLS, Caller, CallResult
from tests.support.discord import TOKEN, local_discord
from tests.support.message_calls import TALK
from tests.support.moderation_calls import MODERATION

_answers: list[CallResult] = []


@pytest.fixture
async def answers() -> list[CallResult]:
    """The answers to all calls."""
    if not _answers:
        async with local_discord() as discord, discord.wire() as wire:
            await wire.identify()
            caller = Caller(discord, wire)
            calls = (*CALLS, *TALK, *MODERATION)  # at the end of which the bot leaves its guild
            _answers.extend([answer for call in calls if (answer := await caller(call)) is not None])
    return _answers


async def test_every_route_answers_as_described(answers: list[CallResult]) -> None:
    judge = openapi.description()
    for one in answers:
        assert judge.faults(one.call.method, one.path, one.status, one.body) == [], (one.call, one.body)


async def test_every_route_is_called(answers: list[CallResult]) -> None:
    """A route that is new needs a call in tests/support/calls.py, with the status of its success."""
    good = {one.route for one in answers if one.status < 300}
    command = "/applications/{application}/guilds/{guild}/commands/{command}/permissions"
    never_good = {("GET", command), ("PUT", command)}
    of_people = {  # with their tokens: tests/system/test_sandbox_oauth.py
        *(("GET", "/oauth2/@me"), ("GET", "/users/@me/guilds/{guild}/member")),
        *(("POST", "/oauth2/token"), ("POST", "/oauth2/token/revoke")),
    }
    assert {(one.method, one.path) for one in routing.ROUTES} - good - never_good - of_people == set()


async def test_a_mutated_answer_is_found(answers: list[CallResult]) -> None:
    """Of every answer: a field that must be there is missed, and one of the wrong type is seen."""
    judge = openapi.description()
    found = {"missing": 0, "wrong": 0}
    seen = dict(found)
    for one in answers:
        caught = {kind: [] for kind in seen}
        for kind, key, mutant in _mutants(one.body):
            seen[kind] += 1
            if judge.faults(one.call.method, one.path, one.status, mutant):
                found[kind] += 1
                caught[kind].append(key)
        if isinstance(one.body, dict) and not one.path.endswith("/member-counts"):  # whose keys are ids
            assert all(caught.values()), (one.call, caught)
    assert found["wrong"] > 0.95 * seen["wrong"], (found, seen)
    assert found["missing"] > 0.5 * seen["missing"], (found, seen)


def _mutants(body: Any) -> Iterator[tuple[str, str, Any]]:
    """``body`` with one field of it, or of the first object in its list, left out or of a wrong type."""
    one = body[0] if isinstance(body, list) and body else body
    for key, value in one.items() if isinstance(one, dict) else ():
        rest_ = {name: kept for name, kept in one.items() if name != key}
        yield "missing", key, [rest_] if isinstance(body, list) else rest_
        broken = {**one, key: 7.5 if isinstance(value, dict | str | list | None) else {"a": 1}}
        yield "wrong", key, [broken] if isinstance(body, list) else broken


@pytest.mark.parametrize(("status", "body"), [(200, None), (204, {}), (299, {}), (200, [])])
def test_a_wrong_status_or_body_is_found(status: int, body: Any) -> None:
    assert openapi.description().faults("GET", "/users/@me", status, body)


async def test_what_is_no_route_or_has_no_token_is_refused() -> None:
    async with local_discord() as discord:
        assert await discord.rest("GET", "/nowhere") == (404, {"message": "404: Not Found", "code": 0})
        async with discord.http.get(f"{discord.url}/api/v10/users/@me", headers={"Authorization": TOKEN}) as answer:
            assert (answer.status, await answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Via"]
